"""Another process: replays the histories that it is given, with other hashes and addresses, and runs all anew.

It reads `{name: [[event, time], ...]}` and writes, for each workflow and way, what was asked for in which order.
"""

from __future__ import annotations

import gc
import json
import sys
from random import Random

from headwater.events.model import Event
from headwater.runs.events import RunEvent
from tests.unit.workflows import catalogue
from tests.unit.workflows.driver import Owner, at_random, replay

MODELS = {model.model_fields["type"].default: model for model in RunEvent.__args__}
WAYS = 2


def say_all() -> dict[str, str]:
    """What each workflow does, live."""
    said: dict[str, str] = {}
    for workflow in catalogue.WORKFLOWS:
        for seed in range(WAYS):
            owner = Owner(workflow, choose=at_random(seed), payloads=catalogue.PAYLOADS).go()
            owner.execution.evict()
            said[f"{workflow.name}/{seed}"] = owner.say()
    return said


def plain(history: list[tuple[Event, int]]) -> list[tuple[object, int]]:
    return [(event.model_dump(mode="json"), at) for event, at in history]


def main() -> None:
    seed, histories = int(sys.argv[1]), json.load(sys.stdin)
    random = Random(seed)
    garbage = [bytes(random.randrange(1, 600)) for _ in range(200_000)]
    random.shuffle(garbage)
    kept = garbage[:100_000]
    del garbage
    gc.set_threshold(random.randrange(5, 200))
    left: dict[str, int] = {}
    for key, history in histories.items():
        workflow = next(w for w in catalogue.WORKFLOWS if w.name == key.partition("/")[0])
        events = [(MODELS[event["type"]].model_validate(event), at) for event, at in history]
        execution = replay(workflow, events)
        left[key] = len(execution.commands) + (execution.outcome is None)
        execution.evict()
    json.dump({"left": left, "live": say_all(), "kept": len(kept)}, sys.stdout)


if __name__ == "__main__":
    main()

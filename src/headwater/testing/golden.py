"""Histories as golden files: recorded once, checked in, and replayed against the code from then on.

    record_history("tests/histories/fulfil.jsonl", fulfil, order, app=app, drive=approve)
    assert_replays(fulfil, "tests/histories/fulfil.jsonl")

A file holds one or more histories, in the form of `headwater run export`; so those of real runs will do as well.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from headwater.app import Headwater, Workflow
from headwater.app.workflows import Bound
from headwater.runs.history_file import history_line, read_histories
from headwater.testing.lone_run import Drive, apart, live
from headwater.workflows.replay import replay


def record_history(
    path: Path | str, workflow: Workflow[..., Any], *args: Any, app: Headwater, drive: Drive | None = None
) -> None:
    """Live a run in virtual time, and write its history to a file."""
    life = live(app, Bound(workflow, args, {}), drive=drive)
    if life.end is None:
        raise AssertionError(f"The run of {workflow!r} does not end: {life.trouble}.")
    Path(path).write_text("".join(f"{history_line(recorded)}\n" for recorded in life.history), "ascii")


def assert_replays(workflow: Workflow[..., Any], path: Path | str) -> None:
    """The code at hand does what each history in the file says."""
    __tracebackhide__ = True
    with Path(path).open(encoding="ascii") as file:
        histories = read_histories(file)
    if not histories:
        raise AssertionError(f"{path} holds no history.")
    for history in histories:
        verdict = apart(partial(replay, {(workflow.name, workflow.version): workflow}, history))
        if verdict.result != "ok":
            raise AssertionError(
                f"Run {verdict.run} of {path} does not replay ({verdict.result} at event {verdict.version}): "
                f"{verdict.message}"
            )

"""What clients were told of runs, and whether the log keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from headwater.client.handle import RunEnd
from headwater.events.envelope import Recorded, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.runs import events as run
from headwater.runs.protocol import run_event
from headwater.runs.rows import STREAM_TYPE
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.run_flows import Effect, Flows, expected

Ends = run.RunCompleted | run.RunFailed | run.RunCancelled
RunKey = tuple[str, str]
"""A run's tenant and id."""
Runs = Mapping[RunKey, Sequence[run.RunEvent]]
_ACTIONS: Final = {"post", "post_far"}


@dataclass(frozen=True, slots=True)
class Sending:
    """A payload that was sent: to a token, under a key if there is one. Keyless payloads are told by their number."""

    tenant: str
    token: str
    number: int
    key: str | None


@dataclass(slots=True)
class Promises:
    """All that clients were told."""

    started: dict[RunKey, tuple[str, int]] = field(default_factory=dict[RunKey, tuple[str, int]])
    """Acknowledged runs: workflow and input."""
    refused: list[tuple[RunKey, str, int]] = field(default_factory=list[tuple[RunKey, str, int]])
    """Starts that were refused because the id was another run's."""
    sent: list[Sending] = field(default_factory=list[Sending])
    unsent: list[Sending] = field(default_factory=list[Sending])
    """Payloads of which a client was told that they were not taken."""
    results: list[tuple[RunKey, RunEnd]] = field(default_factory=list[tuple[RunKey, RunEnd]])
    cancelled: set[RunKey] = field(default_factory=set[RunKey])

    async def check(self, log: Log, flows: Flows) -> None:
        """Hold the log to all that was told."""
        streams: dict[RunKey, list[Recorded]] = {}
        beside: dict[str, list[Recorded]] = {"said": [], "booked": [], "action": []}
        async for recorded in log.read():
            if recorded.stream.type == STREAM_TYPE:
                streams.setdefault((recorded.tenant, recorded.stream.id), []).append(recorded)
            else:
                beside[recorded.stream.type].append(recorded)
        runs = {key: [run_event(recorded) for recorded in stream] for key, stream in streams.items()}
        self._check_starts(runs)
        self._check_sent(streams)
        self._check_results(runs)
        self._check_cancelled(runs)
        _check_emitted(runs, beside["said"])
        _check_booked(runs, beside["booked"])
        _check_effects(runs, flows.effects.done)
        _check_actions(runs, beside["action"], flows.effects.done)
        for key, events in runs.items():
            _check_output(key, events, flows)

    def _check_starts(self, runs: Runs) -> None:
        for key, asked in self.started.items():
            if key not in runs:
                raise InvariantBroken("I1", "an acknowledged run is not in the log", run=key)
            if _input(runs[key]) != asked:
                raise InvariantBroken(
                    "runs", "an acknowledged run is another", run=key, asked=asked, is_=_input(runs[key])
                )
        for key, kind, n in self.refused:
            if _input(runs[key]) == (kind, n):
                raise InvariantBroken("runs", "the same start was refused as another", run=key)

    def _check_sent(self, streams: Mapping[RunKey, Sequence[Recorded]]) -> None:
        ids: Counter[tuple[str, object]] = Counter()
        numbers: Counter[tuple[str, object]] = Counter()
        for (tenant, _), stream in streams.items():
            for recorded in stream:
                event = run_event(recorded)
                if isinstance(event, run.HookReceived):
                    ids[tenant, recorded.id] += 1
                    numbers[tenant, event.payload] += 1
        for sending in self.sent:
            if sending.key is None:
                found = numbers[sending.tenant, sending.number]
            else:
                id = derived_id(Stream("hook", sending.token, sending.tenant), sending.key)
                found = ids[sending.tenant, id]
            if found != 1:
                raise InvariantBroken(
                    "I1", "an acknowledged payload is not in the log once", sent=sending, found=found
                )
        for sending in self.unsent:
            if sending.key is None and any(number == sending.number for _, number in numbers):
                raise InvariantBroken("I1", "a refused payload is in the log", sent=sending)

    def _check_results(self, runs: Runs) -> None:
        for key, seen in self.results:
            end = _end(runs[key])
            if end != seen:
                raise InvariantBroken(
                    "runs", "a result was seen that is not in the log", run=key, seen=seen, end=end
                )

    def _check_cancelled(self, runs: Runs) -> None:
        for key in self.cancelled:
            if not any(isinstance(e, run.CancelRequested | run.RunCancelled) for e in runs[key]):
                raise InvariantBroken("I1", "an acknowledged cancellation is not in the log", run=key)


def _input(events: Sequence[run.RunEvent]) -> tuple[str, int] | None:
    created = events[0]
    return (created.workflow, created.input["n"]) if isinstance(created, run.RunCreated) else None


def _end(events: Sequence[run.RunEvent]) -> Ends | None:
    return next((event for event in events if isinstance(event, Ends)), None)


def _check_emitted(runs: Runs, said: Sequence[Recorded]) -> None:
    there = Counter((r.tenant, r.stream.id, r.data["number"]) for r in said)
    noted = Counter(
        (*key, event.data["number"])
        for key, events in runs.items()
        for event in events
        if isinstance(event, run.EventEmitted) and event.stream is not None
    )
    if there != noted:
        raise InvariantBroken(
            "runs", "what was emitted is not what was noted", there=there - noted, noted=noted - there
        )


def _check_booked(runs: Runs, booked: Sequence[Recorded]) -> None:
    """What a step wrote in its transaction is there exactly once if it has a result, and else not at all."""
    there = Counter((r.tenant, r.stream.id, r.data["number"]) for r in booked)
    noted = Counter(
        (*key, event.output)
        for key, events in runs.items()
        for name, event in _results(events)
        if name.name == "book"
    )
    if there != noted:
        raise InvariantBroken(
            "runs", "what was booked is not what has a result", there=there - noted, noted=noted - there
        )


def _check_actions(runs: Runs, actions: Sequence[Recorded], effects: Sequence[Effect]) -> None:
    """One result for each tenant, step and key, wherever it was asked for."""
    found: dict[tuple[str, str], run.ActionCompleted] = {}
    for recorded in actions:
        event = recorded.event
        if not isinstance(event, run.ActionCompleted) or recorded.version > 1:
            raise InvariantBroken("runs", "an action has two results", action=recorded.stream)
        found[recorded.tenant, recorded.stream.id] = event
        effect = effects[cast(int, event.output) - 1]
        if (effect.tenant, effect.step, effect.run) != (recorded.tenant, event.name, event.run):
            raise InvariantBroken("runs", "an action has another's result", action=event, effect=effect)
    for (tenant, id), events in runs.items():
        for created, event in _results(events):
            if created.action is not None:
                stored = found.get((tenant, f"{created.name}/{created.action}"))
                if stored is None or stored.output != event.output:
                    raise InvariantBroken(
                        "runs",
                        "a call of an action has another result",
                        run=(tenant, id),
                        event=event,
                        is_=stored,
                    )


def _results(events: Sequence[run.RunEvent]) -> Iterator[tuple[run.StepCreated, run.StepCompleted]]:
    created: dict[int, run.StepCreated] = {}
    for event in events:
        if isinstance(event, run.StepCreated):
            created[event.call] = event
        elif isinstance(event, run.StepCompleted):
            yield created[event.call], event


def _check_effects(runs: Runs, effects: Sequence[Effect]) -> None:
    keys: dict[tuple[str, str, str, int], set[str]] = {}
    tries: Counter[tuple[str, int]] = Counter()
    times: Counter[str] = Counter()
    for effect in effects:
        if effect.step not in _ACTIONS:  # may be called twice for one number
            named = (effect.tenant, effect.run, effect.step, effect.number)
            keys.setdefault(named, set()).add(effect.key)
        tries[effect.key, effect.attempt] += 1
        times[effect.key] += 1
        if effect.step in {"once", "remote_once"} and times[effect.key] > 1:
            raise InvariantBroken("runs", "a step that may run at most once ran again", effect=effect)
    for called, of in keys.items():
        if len(of) > 1:
            raise InvariantBroken("runs", "one step had several keys", step=called, keys=sorted(of))
    for (tenant, id), events in runs.items():
        for created, event in _results(events):
            if created.action is None and not times[f"{tenant}/{id}/{event.call}"]:
                raise InvariantBroken("runs", "a step has a result without an effect", run=id, event=event)


def _check_output(key: RunKey, events: Sequence[run.RunEvent], flows: Flows) -> None:
    asked, end = _input(events), _end(events)
    if asked is None or not isinstance(end, run.RunCompleted | run.RunFailed):
        return
    kind, n = asked
    possible = expected(kind, n)
    if isinstance(end, run.RunFailed):
        if possible:
            raise InvariantBroken(
                "runs", "a run failed that must not", run=key, workflow=kind, error=end.error
            )
        return
    output = cast(list[int], end.output)
    if len(set(output)) < len(output) and kind not in {"unique", "rival"}:
        raise InvariantBroken("runs", "a result was applied twice", run=key, workflow=kind, output=output)
    if possible is not None and (numbers := flows.effects.numbers(output)) not in possible:
        raise InvariantBroken(
            "runs",
            "a run returned what it cannot",
            run=key,
            workflow=kind,
            returned=numbers,
            possible=possible,
        )
    made = [flows.effects.done[s - 1] for s in output if possible is not None and s > 0]
    if any((effect.tenant, effect.run) != key for effect in made if effect.step not in _ACTIONS):
        raise InvariantBroken("runs", "a run returned another's result", run=key, workflow=kind)

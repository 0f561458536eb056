"""What clients were told of runs, and whether the log keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from headwater.client.handle import RunEnd
from headwater.events.envelope import Recorded, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.runs import events as run
from headwater.runs.protocol import run_event
from headwater.runs.rows import DEFAULT_TENANT, STREAM_TYPE
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.run_flows import Effect, Flows, expected

Ends = run.RunCompleted | run.RunFailed | run.RunCancelled


@dataclass(frozen=True, slots=True)
class Sending:
    """A payload that was sent: to a token, under a key if there is one. Keyless payloads are told by their number."""

    token: str
    number: int
    key: str | None


@dataclass(slots=True)
class Promises:
    """All that clients were told."""

    started: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Acknowledged runs: workflow and input."""
    refused: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    """Starts that were refused because the id was another run's."""
    sent: list[Sending] = field(default_factory=list[Sending])
    unsent: list[Sending] = field(default_factory=list[Sending])
    """Payloads of which a client was told that they were not taken."""
    results: list[tuple[str, RunEnd]] = field(default_factory=list[tuple[str, RunEnd]])
    cancelled: set[str] = field(default_factory=set[str])

    async def check(self, log: Log, flows: Flows) -> None:
        """Hold the log to all that was told."""
        streams: dict[str, list[Recorded]] = {}
        said: list[Recorded] = []
        async for recorded in log.read():
            if recorded.stream.type == STREAM_TYPE:
                streams.setdefault(recorded.stream.id, []).append(recorded)
            elif recorded.stream.type == "said":
                said.append(recorded)
        runs = {id: [run_event(recorded) for recorded in stream] for id, stream in streams.items()}
        self._check_starts(runs)
        self._check_sent(streams)
        self._check_results(runs)
        self._check_cancelled(runs)
        _check_emitted(runs, said)
        _check_effects(runs, flows.effects.done)
        for id, events in runs.items():
            _check_output(id, events, flows)

    def _check_starts(self, runs: Mapping[str, Sequence[run.RunEvent]]) -> None:
        for id, asked in self.started.items():
            if id not in runs:
                raise InvariantBroken("I1", "an acknowledged run is not in the log", run=id)
            if _input(runs[id]) != asked:
                raise InvariantBroken(
                    "runs", "an acknowledged run is another", run=id, asked=asked, is_=_input(runs[id])
                )
        for id, kind, n in self.refused:
            if _input(runs[id]) == (kind, n):
                raise InvariantBroken("runs", "the same start was refused as another", run=id)

    def _check_sent(self, streams: Mapping[str, Sequence[Recorded]]) -> None:
        ids: Counter[object] = Counter()
        numbers: Counter[object] = Counter()
        for stream in streams.values():
            for recorded in stream:
                event = run_event(recorded)
                if isinstance(event, run.HookReceived):
                    ids[recorded.id] += 1
                    numbers[event.payload] += 1
        for sending in self.sent:
            if sending.key is None:
                found = numbers[sending.number]
            else:
                found = ids[derived_id(Stream("hook", sending.token, DEFAULT_TENANT), sending.key)]
            if found != 1:
                raise InvariantBroken(
                    "I1", "an acknowledged payload is not in the log once", sent=sending, found=found
                )
        for sending in self.unsent:
            if sending.key is None and numbers[sending.number]:
                raise InvariantBroken("I1", "a refused payload is in the log", sent=sending)

    def _check_results(self, runs: Mapping[str, Sequence[run.RunEvent]]) -> None:
        for id, seen in self.results:
            end = _end(runs[id])
            if end != seen:
                raise InvariantBroken(
                    "runs", "a result was seen that is not in the log", run=id, seen=seen, end=end
                )

    def _check_cancelled(self, runs: Mapping[str, Sequence[run.RunEvent]]) -> None:
        for id in self.cancelled:
            if not any(isinstance(e, run.CancelRequested | run.RunCancelled) for e in runs[id]):
                raise InvariantBroken("I1", "an acknowledged cancellation is not in the log", run=id)


def _input(events: Sequence[run.RunEvent]) -> tuple[str, int] | None:
    created = events[0]
    return (created.workflow, created.input["n"]) if isinstance(created, run.RunCreated) else None


def _end(events: Sequence[run.RunEvent]) -> Ends | None:
    return next((event for event in events if isinstance(event, Ends)), None)


def _check_emitted(runs: Mapping[str, Sequence[run.RunEvent]], said: Sequence[Recorded]) -> None:
    there = Counter((recorded.stream.id, recorded.data["number"]) for recorded in said)
    noted = Counter(
        (id, event.data["number"])
        for id, events in runs.items()
        for event in events
        if isinstance(event, run.EventEmitted) and event.stream is not None
    )
    if there != noted:
        raise InvariantBroken(
            "runs", "what was emitted is not what was noted", there=there - noted, noted=noted - there
        )


def _check_effects(runs: Mapping[str, Sequence[run.RunEvent]], effects: Sequence[Effect]) -> None:
    keys: dict[tuple[str, str, int], set[str]] = {}
    tries: Counter[tuple[str, int]] = Counter()
    times: Counter[str] = Counter()
    for effect in effects:
        keys.setdefault((effect.run, effect.step, effect.number), set()).add(effect.key)
        tries[effect.key, effect.attempt] += 1
        times[effect.key] += 1
        if effect.step in {"once", "remote_once"} and times[effect.key] > 1:
            raise InvariantBroken("runs", "a step that may run at most once ran again", effect=effect)
    for called, of in keys.items():
        if len(of) > 1:
            raise InvariantBroken("runs", "one step had several keys", step=called, keys=sorted(of))
    for id, events in runs.items():
        for event in events:
            if isinstance(event, run.StepCompleted) and not times[f"{DEFAULT_TENANT}/{id}/{event.call}"]:
                raise InvariantBroken("runs", "a step has a result without an effect", run=id, event=event)


def _check_output(id: str, events: Sequence[run.RunEvent], flows: Flows) -> None:
    asked, end = _input(events), _end(events)
    if asked is None or not isinstance(end, run.RunCompleted | run.RunFailed):
        return
    kind, n = asked
    possible = expected(kind, n)
    if isinstance(end, run.RunFailed):
        if possible:
            raise InvariantBroken(
                "runs", "a run failed that must not", run=id, workflow=kind, error=end.error
            )
        return
    output = cast(list[int], end.output)
    if len(set(output)) < len(output) and kind not in {"unique", "rival"}:
        raise InvariantBroken("runs", "a result was applied twice", run=id, workflow=kind, output=output)
    if possible is not None and (numbers := flows.effects.numbers(output)) not in possible:
        raise InvariantBroken(
            "runs",
            "a run returned what it cannot",
            run=id,
            workflow=kind,
            returned=numbers,
            possible=possible,
        )
    if possible is not None and any(flows.effects.done[s - 1].run != id for s in output if s > 0):
        raise InvariantBroken("runs", "a run returned another's result", run=id, workflow=kind)

"""What must always be true of a log, read from outside: as far as it concerns the log, the invariants of the design.

I1  every acknowledged event is in the log, where it was said to be
I2  ids are unique in a tenant; positions are 1..N with no gap
I3  stream versions are contiguous from 1
I6  log order respects real time: what was asked after an answer stands behind it; every read is a prefix, and reading
    one stream gives what the log holds of it; recorded times never go back
I7  the chain verifies
I8  idle after quiescence: no task is left

`check` reads everything: it is for tests, simulations and drills, not for production.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from headwater.errors import ChainBroken
from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.port import Data
from headwater.log.verify import verify
from headwater.log.write import Appended, Write

_STREAMS = 20


class InvariantBroken(AssertionError):
    """Something that must always be true is not. `name` says which invariant, `facts` what was seen."""

    def __init__(self, name: str, what: str, **facts: Any) -> None:
        said = ", ".join(f"{key}={value!r}" for key, value in facts.items())
        super().__init__(f"{name} is broken: {what}" + (f" ({said})" if said else ""))
        self.name, self.what, self.facts = name, what, facts


class Acknowledged(NamedTuple):
    """An event that the log said it holds, and the times (monotonic, the machine's) of question and answer."""

    tenant: str
    id: UUID
    position: int
    version: int
    asked: int
    answered: int
    known: bool = False


class Witness:
    """Appends for a test and keeps what the log answered, so that `check` can hold it to its word."""

    def __init__(self) -> None:
        self.acknowledged: list[Acknowledged] = []

    async def append(self, log: Log, *writes: Write) -> list[Appended]:
        asked = time.monotonic_ns()
        appended = await log.append(*writes)
        answered = time.monotonic_ns()
        for write, place in zip(writes, appended, strict=True):
            rows = write.prepared[0].rows if write.prepared else ()
            entries = zip(rows, place.positions, place.versions, place.known, strict=True)
            self.acknowledged += [
                Acknowledged(write.stream.tenant, row.event_id, position, version, asked, answered, known)
                for row, position, version, known in entries
            ]
        return appended


async def check(log: Log, acknowledged: Iterable[Acknowledged] = ()) -> None:
    """Read the log and raise `InvariantBroken` for the first thing that is wrong with it."""
    events = [event async for event in log.read(data=Data.REFS)]
    _check_positions(events)
    _check_ids(events)
    streams = _check_versions(events)
    _check_times(events)
    promised = list(acknowledged)
    _check_promises(events, promised)
    _check_real_time(promised)
    await _check_prefix(log, events)
    await _check_streams(log, streams)
    try:
        await verify(log)
    except ChainBroken as broken:
        raise InvariantBroken("I7", str(broken), position=broken.position) from broken


async def check_idle(patience: float = 1.0) -> None:
    """Raise when a task other than the caller's goes on for longer than `patience`."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=patience)
    alive = [task for task in others if not task.done()]
    if alive:
        raise InvariantBroken("I8", "tasks are left", tasks=sorted(task.get_name() for task in alive))


def _check_positions(events: Sequence[Recorded]) -> None:
    for expected, event in enumerate(events, start=1):
        if event.position != expected:
            raise InvariantBroken(
                "I2", "positions have a gap or a repeat", expected=expected, found=event.position
            )


def _check_ids(events: Sequence[Recorded]) -> None:
    first: dict[tuple[str, UUID], int] = {}
    for event in events:
        before = first.setdefault((event.tenant, event.id), event.position)
        if before != event.position:
            raise InvariantBroken(
                "I2", "an id is in the log twice", id=event.id, positions=(before, event.position)
            )


def _check_versions(events: Sequence[Recorded]) -> dict[Stream, list[Recorded]]:
    streams: dict[Stream, list[Recorded]] = {}
    for event in events:
        stream = streams.setdefault(event.stream, [])
        stream.append(event)
        if event.version != len(stream):
            raise InvariantBroken(
                "I3",
                "versions of a stream are not contiguous",
                stream=event.stream,
                expected=len(stream),
                found=event.version,
            )
    return streams


def _check_times(events: Sequence[Recorded]) -> None:
    for before, event in pairwise(events):
        if event.recorded_at < before.recorded_at:
            raise InvariantBroken("I6", "a recorded time goes back", position=event.position)


def _check_promises(events: Sequence[Recorded], promised: Iterable[Acknowledged]) -> None:
    there = {(event.tenant, event.id): event for event in events}
    for promise in promised:
        event = there.get((promise.tenant, promise.id))
        if event is None:
            raise InvariantBroken("I1", "an acknowledged event is not in the log", promise=promise)
        if (event.position, event.version) != (promise.position, promise.version):
            raise InvariantBroken(
                "I1", "an acknowledged event is elsewhere", promise=promise, position=event.position
            )


def _check_real_time(promised: Iterable[Acknowledged]) -> None:
    new = [promise for promise in promised if not promise.known]
    answers = sorted(new, key=lambda promise: promise.answered)
    highest, upto = 0, 0
    for promise in sorted(new, key=lambda promise: promise.asked):
        while upto < len(answers) and answers[upto].answered < promise.asked:
            highest = max(highest, answers[upto].position)
            upto += 1
        if promise.position < highest:
            raise InvariantBroken(
                "I6", "an event stands before one that was answered earlier", promise=promise, behind=highest
            )


async def _check_prefix(log: Log, events: Sequence[Recorded]) -> None:
    again = [event.chain async for event in log.read(data=Data.NONE)]
    if again[: len(events)] != [event.chain for event in events]:
        raise InvariantBroken("I6", "a read is no prefix of a later one", first=len(events), later=len(again))


async def _check_streams(log: Log, streams: dict[Stream, list[Recorded]]) -> None:
    for stream, expected in list(streams.items())[:_STREAMS]:
        found = [event.position async for event in log.stream(stream, data=Data.NONE)]
        if found[: len(expected)] != [event.position for event in expected]:
            raise InvariantBroken(
                "I6", "a stream is not what the log holds of it", stream=stream, positions=found
            )

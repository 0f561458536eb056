"""Streams to which several processes write, by appends that carry their states and by appends that do not.

The state of a stream is the list of the numbers in it. Whoever has written reads it at once, and must find what they
wrote and all that was before; at the end each state is the fold of its stream up to where the state says that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

from headwater.errors import WrongVersion
from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.projections.inline import Inline
from headwater.projections.projection import Projection
from headwater.projections.rebuild import live_of
from headwater.projections.states import States
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.states import simulated
from headwater.testing.simulation.workload import Node

COUNTS: Final = "counts"
_SHELF: Final = "shelf"
_TRIES: Final = 20


class Counted(Event):
    type: Literal["counted"] = "counted"
    number: int


def counts(now: Callable[[], float]) -> Projection[list[int]]:
    def fold(state: list[int], event: Counted) -> list[int]:
        return [*state, event.number]

    made = Projection(
        COUNTS,
        state=list[int],
        initial=list[int](),
        fold=fold,
        events=(Counted,),
        stream_types=(_SHELF,),
        inline=True,
    )
    return simulated(made, now)


class Counting:
    """What one process does with them."""

    def __init__(self, node: Node, log: Log, projection: Projection[list[int]]) -> None:
        self._node, self._log = node, log
        self._states, self._inline = States(log, projection), Inline(log, [projection])

    async def count(self, number: int) -> None:
        """Write a number, and read it."""
        stream = Stream(_SHELF, f"s{self._node.random.randrange(2)}")
        if self._node.random.random() < 0.3:
            await self._log.append(Write(stream, [Counted(number=number)]))
        else:
            await self._append(stream, Counted(number=number))
        seen = await self._states.state(f"{_SHELF}/{stream.id}")
        told = [numbered(one) async for one in self._log.stream(stream)]
        if number not in seen or seen != told[: len(seen)]:
            raise InvariantBroken(
                "I4", "an inline state is not what was written", wrote=number, state=seen, stream=told
            )

    async def _append(self, stream: Stream, event: Counted) -> None:
        for _ in range(_TRIES):
            with suppress(WrongVersion):
                await self._inline.append(stream, [event], await self._inline.version(stream))
                return
        await self._log.append(Write(stream, [event]))


def numbered(recorded: Recorded) -> int:
    event = recorded.event
    return event.number if isinstance(event, Counted) else -1


async def check_counts(log: Log, projection: Projection[list[int]]) -> None:
    """Each state is its stream up to where it is, which is no less than its checkpoint's place."""
    store = projection.store(log)
    live = await live_of(store, projection)
    rows = {row.key: row for row in await store.page(COUNTS, live.generation)}
    streams: dict[str, list[Recorded]] = {}
    async for recorded in log.read(stream_types=(_SHELF,)):
        streams.setdefault(f"{_SHELF}/{recorded.stream.id}", []).append(recorded)
    for key, events in streams.items():
        row = rows.pop(key, None)
        position = max(live.position, row.position if row is not None else 0)
        expected = [numbered(one) for one in events if one.position <= position]
        state = [] if row is None else projection.decode(row.state or b"[]")
        if state != expected:
            raise InvariantBroken(
                "I4", "an inline state is not the fold of its stream", key=key, state=state, fold=expected
            )
    if rows:
        raise InvariantBroken("I4", "an inline state is of no stream", keys=sorted(rows))

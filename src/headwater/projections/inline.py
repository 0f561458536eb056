"""Inline projections: the append writes the state that it leads to.

    inline = Inline(log, projections)
    await inline.append(stream, events, version)

Promise. A state that an append wrote is the fold of its stream up to the append's last event. Whoever has heard that
the append succeeded reads a state that holds it. No user code runs under a lock.

Why it is right. A write carries states only together with the version that it expects, and they were folded, before
anything was sent, from all events up to that version and those of the write. Under the shard's lock the stream is at
that version or the append is refused, so nobody's event lies between. Events are folded as they will be read: encoded
and decoded. A retry finds its events by their ids and leaves the states alone.

Events that come by other ways (`log.append`, an older program) write no state. Who reads one adds what the stream has
after it (see `states`); the projector, which follows the log, writes what they left out (see `folding`).

The state that an accepted write has led to is remembered, for the next one. It stays the state at that version,
whatever comes; if another was quicker, that next write is refused, and the state read anew.

Rejected: folding in the database (user code under the lock); states without their positions (the projector could not
tell what it has still to do).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, Final

from headwater.errors import WrongVersion
from headwater.events.canonical import encode_event, encode_json
from headwater.events.codec import PLAIN
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.model import Event, type_name
from headwater.log.log import Log
from headwater.log.side import PutState, SideRow
from headwater.log.write import Appended, Write
from headwater.projections.projection import Projection
from headwater.projections.states import States

_REMEMBERED: Final = 10_000


class Inline:
    """The inline ones among some projections, on a log."""

    def __init__(self, log: Log, projections: Sequence[Projection[Any]]) -> None:
        self._log = log
        self._all = [(one, States(log, one)) for one in projections if one.inline]
        self._remembered: dict[Stream, tuple[int, list[Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    async def version(self, stream: Stream) -> int:
        """The version to append at, as far as we know."""
        known = self._remembered.get(stream)
        return await self._log.version(stream) if known is None else known[0]

    async def append(
        self,
        stream: Stream,
        events: Sequence[Event | RawEvent | NewEvent],
        version: int,
        *,
        rows: Sequence[SideRow] = (),
        beside: Sequence[Write] = (),
    ) -> list[Appended]:
        """Append events that are expected at a version, the states that they lead to, and what goes beside them.

        If the stream is elsewhere, no states go along: the log refuses the call, or knows its events.
        """
        before = await self._at(stream, version) if events and self._all else None
        if before is None:
            return await self._log.append(Write(stream, events, expect=version, rows=rows), *beside)
        after = version + len(events)
        states: list[Any] = []
        put: list[SideRow] = []
        for (projection, _), state in zip(self._all, before, strict=True):
            states.append(reduce(projection.fold, self._as_read(events, projection.types), state))
            data = projection.encode(states[-1])
            put.append(PutState(projection.name, projection.version, stream, after, data))
        try:
            write = Write(stream, events, expect=version, rows=(*rows, *put))
            appended = await self._log.append(write, *beside)
        except WrongVersion:
            self._remembered.pop(stream, None)
            raise
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        if not any(appended[0].known):
            self._remembered[stream] = after, states
        return appended

    async def _at(self, stream: Stream, version: int) -> list[Any] | None:
        """The states at a version; None if the stream is at another."""
        at, states = self._remembered.get(stream, (-1, []))
        if at == version:
            return states
        found = [await states.of_stream(stream) for _, states in self._all]
        return [one.state for one in found] if {one.version for one in found} == {version} else None

    def _as_read(
        self, events: Iterable[Event | RawEvent | NewEvent], types: Sequence[str]
    ) -> Iterable[Event]:
        """Those of some types, as the log will give them back."""
        for new in events:
            fact = new.event if isinstance(new, NewEvent) else new
            if isinstance(fact, Event):
                name, data = type_name(type(fact)), encode_event(fact)
            else:
                name, data = fact.type, encode_json(fact.data, fact.type)
            if name in types:
                yield self._log.decoder.event(name, fact.schema_version, PLAIN, data)

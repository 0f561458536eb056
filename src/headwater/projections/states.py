"""Reading a projection's states: now, at a position, at a version, at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, Generic, TypeVar

from headwater.errors import NotSupported, Parked
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.snapshots import Fold, Folded, Folder
from headwater.projections.current import in_use, state_in_use
from headwater.projections.projection import Projection
from headwater.projections.stores import Key, StateRow, Store

S = TypeVar("S")
_SOONEST: Final = 0.002
_LATEST: Final = 0.1
_MANY: Final = 1_000_000
_FEW: Final = 4


class States(Generic[S]):
    """What a program reads of one projection."""

    def __init__(self, log: Log, projection: Projection[S], store: Store | None = None) -> None:
        self._log, self._projection, self._store = log, projection, store or projection.store(log)
        self._folder = Folder(log)
        for model in projection.events:
            log.registry.add(model)

    async def state(self, key: str, *, tenant: str = "default") -> S:
        """The state now: as far as the projection is. A key without events has the initial state.

        That of an inline projection holds every event of its stream.
        """
        if self._projection.inline and (stream := self._stream(key, tenant)) is not None:
            return (await self.of_stream(stream)).state
        row = await self._row(Key(tenant, key))
        if row is None or row.state is None:
            return self._projection.initial
        return self._projection.decode(row.state)

    async def caught_up(self, position: int, *, key: str | None = None, tenant: str = "default") -> None:
        """Return when the states hold every event up to a position; `Parked` if one (this one) cannot come there."""
        pause = _SOONEST
        while True:
            live = await in_use(self._store, self._projection.name)
            if live is not None and live.position >= position:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LATEST)
        if key is None:
            rows = await self._store.parked(live.name, live.generation, limit=_MANY)
        else:
            row = await self._row(Key(tenant, key))
            rows = [] if row is None else [row]
        for row in rows:
            if row.parked and row.parked <= position:
                raise Parked(live.name, row.tenant, row.key, row.parked, row.error)

    async def at_version(self, stream: Stream, version: int) -> S:
        """The fold of a stream up to a version, whatever the projection's key is."""
        return (await self.of_stream(stream, version=version)).state

    async def at_time(self, stream: Stream, moment: datetime) -> S:
        """The fold of a stream up to a recorded time."""
        return (await self.of_stream(stream, at=moment)).state

    async def of_stream(
        self, stream: Stream, *, version: int | None = None, at: datetime | None = None
    ) -> Folded[S]:
        """The fold of a stream as the log has it, and the version that it is of: now, at a version, or at a time."""
        projection = self._projection
        if projection.inline and version is None and at is None:
            kept = await self._kept(stream)
            if kept is not None:
                return kept
        if projection.whole is None:
            return await self._folder.state(stream, self._fold(), to_version=version, until=at)
        history = [one async for one in self._log.stream(stream, to_version=version, until=at)]
        known = [one for one in history if one.type in projection.types]
        state = projection.whole(known) if known else projection.initial
        return Folded(state, history[-1].version if history else 0)

    def _stream(self, key: str, tenant: str) -> Stream | None:
        """Whose state an inline projection keeps under a key."""
        [type] = self._projection.stream_types
        prefix, id = key[: len(type) + 1], key[len(type) + 1 :]
        return Stream(type, id, tenant) if prefix == f"{type}/" else None

    async def _kept(self, stream: Stream) -> Folded[S] | None:
        """What is kept of a stream, with the events after it; None where nothing of this fold is."""
        projection, key = self._projection, Key(stream.tenant, f"{stream.type}/{stream.id}")
        live = await in_use(self._store, projection.name)
        if live is None or live.version != projection.version:
            return None
        row = (await self._store.load(projection.name, live.generation, [key])).get(key)
        if row is None or row.state is None or row.parked:
            return None
        limit = _FEW
        while True:
            newest = [one async for one in self._log.stream(stream, backward=True, limit=limit)]
            if len(newest) < limit or newest[-1].position <= row.position:
                break
            limit *= 8
        if not newest:
            return None
        missed = [one for one in reversed(newest) if one.position > row.position]
        return Folded(projection.after(projection.decode(row.state), missed), newest[0].version)

    async def key_at_time(self, key: str, moment: datetime, *, tenant: str = "default") -> S:
        """The state of any key at a recorded time: the log is read from its beginning."""
        projection, state = self._projection, self._projection.initial
        if projection.whole is not None:
            raise NotSupported(
                f"Projection {projection.name!r} is made of whole streams: ask at_time for one."
            )
        pages = self._log.pages(
            tenant=tenant, types=projection.types, stream_types=projection.stream_types, until=moment
        )
        async for page in pages:
            for recorded in page.events:
                if projection.key(recorded) == key:
                    state = projection.fold(state, recorded.event)
        return state

    async def _row(self, key: Key) -> StateRow | None:
        return await state_in_use(self._store, self._projection.name, key)

    def _fold(self) -> Fold[S]:
        projection = self._projection
        return Fold(
            f"projection-{projection.name}",
            projection.state,
            projection.initial,
            lambda state, recorded: projection.after(state, (recorded,)),
            projection.version,
        )

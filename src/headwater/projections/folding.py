"""Folding one generation of a projection, batch by batch: what the projector and a rebuild have in common.

Promise. The states of a generation at its checkpoint are the fold of the log up to there, each event applied once,
whatever dies when, and whoever else folds at the same time.

Why it is right. A batch is a page of the log after the checkpoint, grouped by key. States that it changes and the
checkpoint behind it are written in one transaction, on the condition that the checkpoint (epoch and position) is the
one that the batch began at. So of two that fold the same page one writes; a death before the write leaves nothing, and
a write whose answer was lost shows as a checkpoint that has moved: states are then read anew. Cached states are
those of our own last write, and dropped whenever a write fails.

While there are more pages, what they change is written together every so often, and never more than a store takes well
in one piece: a key that changes in every page is encoded and written once. Until then it is in the cache alone, as is
what is being written, and pages are folded meanwhile. The next write waits for that one, and goes only if it has
succeeded. What is not written when a process dies, or when anything fails or is cut off, is folded again, from the
checkpoint that has not moved: nothing that is only in memory outlives a failure.

A key is parked at the event that its fold, its state or its payload fails at. The state before stays, and later events
of the key pass. To fold a key again, the log is read from where its state is to the checkpoint, and the result is
written at that same checkpoint, so no event between is missed and none is folded twice.

States of an inline projection are written by appends too (see `inline`), each with the position that it is at. Events
up to there are skipped, and `save` leaves a newer state alone. What is written here lacks no event of its key up to the
checkpoint, and what follows is still to be folded: so even a state that a redrive has put back comes to the fold of the
log. Rows are written in one order here and there, so that neither waits for the other in a circle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar

from headwater.errors import CheckpointMoved, HeadwaterError
from headwater.events.envelope import Recorded, StoredRow
from headwater.log.log import Log
from headwater.log.port import Query
from headwater.projections.collector import seldom_collected, uncollected
from headwater.projections.entries import Entry, save_shown
from headwater.projections.open import table_for
from headwater.projections.pages import Pages
from headwater.projections.projection import Projection
from headwater.projections.stores import FROM_START, Checkpoint, Key, StateRow, Store

S = TypeVar("S")
BATCH: Final = 500
"""Events in a page: so few that what is made of them is still in the processor's caches when it is needed."""
_STRETCH: Final = 1000
_BYTES: Final = 16 * 1024 * 1024
"""What the states of one write should come to at most."""
_whose: Final = itemgetter(0, 1)


class Folding(Generic[S]):
    """Folds one generation under a lease."""

    def __init__(
        self,
        log: Log,
        projection: Projection[S],
        store: Store,
        holder: str,
        *,
        lease: float = 10.0,
        batch: int = BATCH,
        cache: int = 50_000,
        every: float = 0.25,
        shows: bool = True,
        ahead: bool = True,
    ) -> None:
        self._log, self.projection, self._store, self._holder = log, projection, store, holder
        self._lease_us, self._batch, self._cached = int(lease * 1_000_000), batch, cache
        self._clock, self._every, self._due = asyncio.get_running_loop().time, every, 0.0
        self._pages = Pages(log.backend, Query(limit=batch, **self._filter()), ahead=ahead)
        self._cache: dict[Key, Entry] = {}
        self._changed: dict[Key, Entry] = {}
        self._room = batch
        """How many changed keys are written together at most: one page of them until their size is known."""
        self.at: Checkpoint | None = None
        self._leased: int | None = None
        self._saving: asyncio.Task[None] | None = None
        self._shown = projection.table if shows else None
        self._table = None if self._shown is None else table_for(log, projection.name, self._shown)
        self.seen = 0
        """How far the log was read, which is where the checkpoint is or beyond."""
        for model in projection.events:
            log.registry.add(model)

    async def take(self, generation: int) -> Checkpoint | None:
        """Take or keep the lease: where the generation is, None if another folds it."""
        with suppress(HeadwaterError):  # where a write left the checkpoint is read here
            await self._landed()
        at = await self._store.take(self.projection.name, generation, self._holder, self._lease_us)
        if at != self.at:
            self._forget()
            if at is not None and self._table is not None:
                await self._table.check()
                await self._table.sweep()
        self.at = at
        self._leased = generation if at is not None else self._leased
        return at

    async def release(self) -> None:
        """Let another take it."""
        await self._pages.close()
        if self._saving is not None:
            self._saving.cancel()
            with suppress(asyncio.CancelledError, HeadwaterError):
                await self._landed()
        self.at = None
        if self._leased is not None:  # also when a write has failed, or was cut off
            await self._store.release(self.projection.name, self._leased, self._holder)
            self._leased = None

    @property
    def behind(self) -> bool:
        """Whether the checkpoint has not followed yet."""
        return self.at is not None and self.seen > self.at.position

    async def settle(self) -> None:
        """Write what has changed, and have the checkpoint follow, also over events of others."""
        with self._or_anew():
            await self._landed()
            if self.behind:
                await self._save(self.seen, await self._made())

    async def step(self, *, lazily: bool = False) -> bool:
        """Fold the next page; whether the log went on. `lazily`: pages without events of ours wait for `settle`."""
        try:
            with seldom_collected(), self._or_anew():
                return await self._step(lazily)
        except CheckpointMoved:
            await self._landed()  # a write may have failed meanwhile: that is the reason, then
            raise

    async def _step(self, lazily: bool) -> bool:  # noqa: FBT001
        self.seen = max(self.seen, self._needed().position)
        page = await self._pages.after(self.seen)
        if page.seen <= self.seen:
            await (self.settle() if self._changed else self._landed())
            return False
        self.seen = page.seen
        if lazily and not page.rows and not (page.done and self._changed):
            return True
        if self.projection.inline:
            self._cache.clear()  # appends write states too
        groups = self._grouped(await self._log.fill(page.rows))
        entries = await self._entries(groups)
        if self.projection.whole is None:
            with uncollected():
                for key, events in groups.items():
                    if entries[key].fold(self.projection, events):
                        self._changed[key] = entries[key]
        else:
            for key, events in groups.items():
                if await self._read_whole(entries[key], events[-1]):
                    self._changed[key] = entries[key]
        if page.done or self._table is not None or self.projection.inline:
            await self.settle()
        elif len(self._changed) >= self._room or len(entries) > self._cached or self._clock() >= self._due:
            await self._landed()
            rows = await self._made()
            self._saving = asyncio.create_task(self._save(page.seen, rows), name="headwater-save")
        if len(self._cache) > self._cached:
            await self._landed()
            self._cache.clear()
        return True

    async def _made(self) -> list[StateRow]:
        """The rows of what has changed; whatever else this process does has its turn between."""
        entries, self._changed = list(self._changed.values()), {}
        rows: list[StateRow] = []
        for first in range(0, len(entries), _STRETCH):
            if first:
                await asyncio.sleep(0)
            with uncollected():
                rows += [
                    entry.made(self.projection, self._shown) for entry in entries[first : first + _STRETCH]
                ]
        # how many of their size are to be written together the next time
        if size := sum(len(row.state or b"") for row in rows):
            self._room = max(self._batch, len(rows) * _BYTES // size)
        return sorted(rows, key=_whose) if self.projection.inline else rows

    async def _landed(self) -> None:
        """Wait for the write that is under way; if it fails, nothing after it counts."""
        task, self._saving = self._saving, None
        if task is not None:
            await task

    async def again(self) -> int:
        """Fold again the keys that this was asked for: how many."""
        await self.settle()
        at = self._needed()
        found = await self._store.parked(at.name, at.generation, limit=10_000)
        asked = [row for row in found if row.asked]
        if not asked:
            return 0
        entries: dict[Key, Entry] = {}
        for row in asked:
            start = row._replace(parked=0, error="", again=0)
            if row.again == FROM_START:
                start = start._replace(position=0, state=None)
            entry = entries[Key(row.tenant, row.key)] = Entry(start)
            if row.again == FROM_START:
                entry.lines = ()
        after = min(entry.row.position for entry in entries.values())
        while after < at.position:
            query = Query(after=after, to_position=at.position, limit=self._batch, **self._filter())
            page = await self._log.backend.read(query)
            rows = [row for row in page.rows if row[0] <= at.position]
            for key, events in self._grouped(await self._log.fill(rows)).items():
                if (one := entries.get(key)) is not None:
                    if self.projection.whole is None:
                        one.fold(self.projection, events)
                    else:
                        await self._read_whole(one, events[-1])
            if page.seen <= after:
                break
            after = page.seen
        made = [entry.made(self.projection, self._shown) for entry in entries.values()]
        await self._save(at.position, made, entries)
        self._cache.clear()
        return len(entries)

    def _needed(self) -> Checkpoint:
        if self.at is None:
            raise CheckpointMoved(self.projection.name)
        return self.at

    def _filter(self) -> dict[str, Any]:
        return {"types": self.projection.types, "stream_types": self.projection.stream_types}

    def _grouped(self, rows: Iterable[StoredRow]) -> dict[Key, list[Recorded]]:
        """The events of a page by key, each key's in order."""
        groups: dict[Key, list[Recorded]] = {}
        decoder, key_of = self._log.decoder, self.projection.key
        with uncollected():
            for row in rows:
                recorded = Recorded(row, decoder)
                key = key_of(recorded)
                if key is not None:
                    groups.setdefault(Key(row[1], key), []).append(recorded)
        return groups

    async def _entries(self, keys: Iterable[Key]) -> dict[Key, Entry]:
        """What is kept of these keys, from the cache or the store."""
        at = self._needed()
        missing = [key for key in keys if key not in self._cache]
        if missing:
            found = await self._store.load(at.name, at.generation, missing)
            for key in missing:
                self._cache[key] = Entry(found.get(key) or StateRow(*key, 0, None))
        return self._cache

    async def _read_whole(self, entry: Entry, last: Recorded) -> bool:
        """The same for a projection of whole streams: the stream is read anew, up to the page's last event of it."""
        if entry.parked or last.position <= entry.position:
            return False
        history = [
            recorded
            async for recorded in self._log.stream(last.stream, to_version=last.version)
            if recorded.type in self.projection.types
        ]
        entry.read_anew(self.projection, history, last.position)
        return True

    async def _save(
        self, position: int, rows: Sequence[StateRow], entries: Mapping[Key, Entry] | None = None
    ) -> None:
        with self._or_anew():
            at, cache = self._needed(), self._cache
            if self._table is None or (at.position and not rows):
                saved, refused = await self._store.save(at, position, rows), False
            else:
                saved, parked = await save_shown(
                    self._table, self._store, at, position, rows, entries or cache
                )
                refused = bool(parked)
            if self._cache is cache:  # nothing has failed meanwhile that was folded onto it
                self.at, self._due = saved, self._clock() + self._every
                self._cache = {} if refused else cache

    @contextmanager
    def _or_anew(self) -> Generator[None]:
        """Where this fails or is cut off, nothing counts that is not written: the checkpoint is to be taken anew.

        A new cache, since a page may be folded onto the old one meanwhile.
        """
        try:
            yield
        except BaseException:
            self.at = None
            self._forget()
            raise

    def _forget(self) -> None:
        self._cache, self._changed, self.seen = {}, {}, 0

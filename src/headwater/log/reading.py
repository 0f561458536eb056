"""Reading in pages: the next page is fetched while the caller works on this one.

A page is one committed prefix of the log. Its cursor stands behind everything that the page has looked at, the
events that the filter left out included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast, overload
from uuid import UUID

from headwater.errors import CursorRefused, LogUnavailable, PayloadMissing
from headwater.events.envelope import Decoder, Recorded, StoredRow
from headwater.log.cursor import Cursor, check_cursor
from headwater.log.live import Live
from headwater.log.port import Backend, Data, Page, Place, Query

_BLOB: Final = 19


class Events(Sequence[Recorded]):
    """The events of a page, each made when it is looked at.

    Who goes through a page so has one typed event at hand and not a thousand; keeping them costs the garbage
    collector as much as it costs to make them.
    """

    __slots__ = ("_decoder", "_rows", "_shard")

    def __init__(self, rows: Sequence[StoredRow], decoder: Decoder, shard: int) -> None:
        self._rows, self._decoder, self._shard = rows, decoder, shard

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Recorded]:
        decoder, shard = self._decoder, self._shard
        return (Recorded(row, decoder, shard) for row in self._rows)

    @overload
    def __getitem__(self, index: int) -> Recorded: ...
    @overload
    def __getitem__(self, index: slice) -> Events: ...
    def __getitem__(self, index: int | slice) -> Recorded | Events:
        if isinstance(index, slice):
            return Events(self._rows[index], self._decoder, self._shard)
        return Recorded(self._rows[index], self._decoder, self._shard)


class EventPage(NamedTuple):
    """Events in order, and where a reader that has seen them stands."""

    events: Sequence[Recorded]
    cursor: Cursor


class Reader:
    """Turns queries into pages of events."""

    def __init__(self, backend: Backend, decoder: Decoder, live: Live, incarnation: UUID) -> None:
        self._backend, self._decoder, self._live = backend, decoder, live
        self._incarnation = incarnation

    async def stream(self, query: Query, data: Data, limit: int | None) -> AsyncIterator[Recorded]:
        """The events of one stream, page by page."""
        left = limit
        query = replace(query, payload=data is not Data.NONE)
        while left is None or left > 0:
            page = await self._backend.read(replace(query, limit=min(query.limit, left or query.limit)))
            for row in await self._fill(page.rows, data):
                yield Recorded(row, self._decoder, query.shard)
            if page.done or not page.rows:
                return
            left = left and left - len(page.rows)
            last = page.rows[-1][4]
            query = (
                replace(query, to_version=last - 1)
                if query.backward
                else replace(query, from_version=last + 1)
            )

    async def log(
        self, query: Query, data: Data, after: Cursor | None, *, follow: bool
    ) -> AsyncIterator[EventPage]:
        """The log after a cursor; with `follow`, it goes on as the log grows."""
        place = await self._start(after, query.shard)
        query = replace(query, after=place.position, payload=data is not Data.NONE)
        prefetch: asyncio.Task[Page] | None = None
        passed: int | None = None
        try:
            while True:
                page = await (prefetch or self._read(query, follow=follow))
                prefetch = None
                query = replace(query, after=page.seen)
                if not page.done:
                    prefetch = asyncio.create_task(self._read(query, follow=follow), name="headwater-read")
                    await asyncio.sleep(0)  # so that it is on its way while the caller works on this page
                rows = await self._fill(page.rows, data)
                if page.seen > place.position:
                    place = await self._place(page, query.shard)
                    events = Events(rows, self._decoder, query.shard)
                    yield EventPage(events, Cursor(self._incarnation, {query.shard: place}))
                if page.done:
                    if not follow or page.seen == passed:
                        return
                    await self._live.beyond(page.seen, surely=query.until is not None)
                    passed = page.seen if query.until is not None else None  # later ones are past it
        finally:
            if prefetch is not None:
                prefetch.cancel()

    async def _read(self, query: Query, *, follow: bool) -> Page:
        """One page. A reader that follows outlives an outage; one that only reads is told of it."""
        delay = 0.05
        while True:
            try:
                return await self._backend.read(query)
            except LogUnavailable:
                if not follow:
                    raise
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)

    async def _start(self, after: Cursor | None, shard: int) -> Place:
        start = after.places.get(shard) if after else None
        if after is None or start is None:
            first = await self._backend.place(shard, 0)
            return cast("Place", first)
        await check_cursor(after, self._incarnation, self._backend)
        return start

    async def _place(self, page: Page, shard: int) -> Place:
        if page.rows and page.rows[-1][0] == page.seen:
            return Place(page.seen, page.rows[-1][21])
        if page.chain is not None:
            return Place(page.seen, page.chain)
        place = await self._backend.place(shard, page.seen)
        if place is None:
            raise CursorRefused(
                f"Position {page.seen} was just read and is gone: the log was replaced meanwhile."
            )
        return place

    async def fill(self, rows: Sequence[StoredRow]) -> Sequence[StoredRow]:
        """Rows that were read elsewhere, with their large payloads."""
        return await self._fill(rows, Data.ALL)

    async def _fill(self, rows: Sequence[StoredRow], data: Data) -> Sequence[StoredRow]:
        """Put large payloads into their rows, one round trip a tenant and page."""
        if data is not Data.ALL:
            return rows
        wanted: dict[str, set[bytes]] = {}
        for row in rows:
            if row[_BLOB] is not None:
                large = StoredRow(*row)
                wanted.setdefault(large.tenant, set()).add(large.blob or b"")
        if not wanted:
            return rows
        found = {t: await self._backend.get_blobs(t, sorted(hashes)) for t, hashes in wanted.items()}
        return [row if row[_BLOB] is None else _filled(StoredRow(*row), found) for row in rows]


def _filled(row: StoredRow, blobs: Mapping[str, Mapping[bytes, bytes]]) -> StoredRow:
    data = blobs[row.tenant].get(row.blob or b"")
    if data is None:
        raise PayloadMissing(f"The payload of the {row.type} at position {row.position} is missing.")
    return row._replace(data=data)

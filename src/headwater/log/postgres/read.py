"""Reading events: which query answers which question, and how far the log was searched.

A log read looks at positions up to a tail that it knows to be committed, so it is one prefix of the log whatever is
appended meanwhile: positions are gapless and in commit order. Where no index fits the filter, one read looks at a
bounded stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from headwater.events.digest import GENESIS
from headwater.events.envelope import StoredRow, Stream
from headwater.log.port import Page, Place, Query
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.statements import queries

_FOREVER: Final = 2**63 - 1
_STRETCH: Final = 50_000
_SINGLE: Final = "default"
_position: Final = itemgetter(0)


class EventReader:
    """The reads of a backend."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._queries = queries()

    async def read(self, query: Query) -> Page:
        if query.stream is not None:
            return await self._stream(query, query.stream)
        filtered = query.tenant or query.run_id or query.correlation_id or query.types or query.stream_types
        if filtered or query.until is not None or not self._connections.access.crosses_tenants:
            return await self._filtered(query)
        end = _FOREVER if query.to_position is None else query.to_position
        rows = await self._fetch("log", query, [query.shard, query.after, end, query.limit], tenant=None)
        seen = rows[-1][0] if rows else query.after
        return Page(rows, seen, len(rows) < query.limit)

    async def _stream(self, query: Query, stream: Stream) -> Page:
        end = _FOREVER if query.to_version is None else query.to_version
        name = "stream_backward" if query.backward else "stream"
        arguments = [stream.id, stream.tenant, stream.type, query.from_version, end, query.until]
        rows = await self._fetch(name, query, [*arguments, query.limit + 1], tenant=stream.tenant)
        return Page(rows[: query.limit], 0, len(rows) <= query.limit)

    async def streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        """Several streams in one query; a login that does not cross tenants asks for each tenant."""
        found: list[list[Any]] = [[] for _ in starts]
        tenants = self._connections.acting({stream.tenant for stream, _ in starts})
        for tenant in [None] if tenants is None else tenants:
            asked = [(i, s, v) for i, (s, v) in enumerate(starts) if tenant in {None, s.tenant}]
            if not asked:
                continue
            columns = [list(c) for c in zip(*[(s.id, s.tenant, s.type, v) for _, s, v in asked], strict=True)]
            rows = await self._connections.fetch(self._queries["streams"], *columns, limit, tenant=tenant)
            for row in rows:
                found[asked[row["number"] - 1][0]].append(row[:-1])
        return found

    async def _filtered(self, query: Query) -> Page:
        self._connections.begin(query.tenant)  # refuses before anything is read
        name, more = _choose(query)
        if name == "log_filtered" and query.until is None and self._connections.access.crosses_tenants:
            return await self._to_tail(query)
        end = await self._end(query)
        if end <= query.after:
            return Page([], query.after, True)
        stretch = end if name != "log_filtered" else min(end, query.after + _STRETCH)
        arguments: list[Any] = [query.shard, query.after, stretch, query.limit]
        arguments += [query.stream_types or None, query.types or None, query.tenant, *more]
        rows = await self._fetch(name, query, arguments, tenant=query.tenant)
        if len(rows) == query.limit:
            seen: int = rows[-1][0]
            return Page(rows, seen, seen >= end)
        return Page(rows, stretch, stretch >= end)

    async def _to_tail(self, query: Query) -> Page:
        """The same in one round trip, for those who see every event: the tail comes along."""
        bound = query.after + _STRETCH
        if query.to_position is not None:
            bound = min(bound, query.to_position)
        arguments = [query.shard, query.after, bound, query.limit]
        filters = [query.stream_types or None, query.types or None, query.tenant]
        found = await self._fetch("log_to_tail", query, [*arguments, *filters], tenant=query.tenant)
        tail, chain = found[0][-2:] if found else (0, GENESIS)
        end = tail if query.to_position is None else min(tail, query.to_position)
        if end <= query.after:
            return Page([], query.after, True)
        # a join promises no order
        rows = sorted([row[:-2] for row in found if row[0] is not None], key=_position)
        seen = rows[-1][0] if len(rows) == query.limit else min(tail, bound)
        return Page(rows, seen, seen >= end, chain if seen == tail else None)

    async def _end(self, query: Query) -> int:
        """The position at which this read ends."""
        if query.until is None:
            end = (await self.tail(query.shard)).position
        else:
            found = await self._connections.fetch_any(self._queries["position_at"], query.shard, query.until)
            end = int(found[0][0])
        return end if query.to_position is None else min(end, query.to_position)

    async def tail(self, shard: int) -> Place:
        return await self.place(shard, None) or Place(0, GENESIS)

    async def place(self, shard: int, position: int | None) -> Place | None:
        if position == 0:
            return Place(0, GENESIS)
        found = await self._connections.fetch_any(self._queries["place"], shard, position)
        return Place(*found[0]) if found and found[0][0] is not None else None

    async def version(self, stream: Stream) -> int:
        return await self._value("version", stream.id, stream.tenant, stream.type, tenant=stream.tenant) or 0

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return await self._connections.fetch(self._queries["find"], tenant, ids, tenant=tenant)

    async def _fetch(
        self, name: str, query: Query, arguments: Sequence[Any], *, tenant: str | None
    ) -> Sequence[Any]:
        sql = self._queries[name if query.payload else f"{name}_bare"]
        return await self._connections.fetch(sql, *arguments, tenant=tenant)

    async def _value(self, name: str, *arguments: Any, tenant: str | None) -> Any:
        rows = await self._connections.fetch(self._queries[name], *arguments, tenant=tenant)
        return rows[0][0] if rows else None


def _choose(query: Query) -> tuple[str, list[Any]]:
    """The query whose index fits the narrowest filter, and its further arguments."""
    if query.run_id is not None:
        return "log_of_run", [query.run_id, query.correlation_id]
    if query.correlation_id is not None:
        return "log_of_correlation", [query.correlation_id, _as_id(query.correlation_id)]
    if query.tenant is not None and query.tenant != _SINGLE:
        return "log_of_tenant", []
    return "log_filtered", []


def _as_id(correlation_id: str) -> UUID | None:
    """The event that a correlation may be named after, in the form in which ids are written."""
    try:
        id = UUID(correlation_id)
    except ValueError:
        return None
    return id if str(id) == correlation_id else None

"""Pages of the log. Each statement has its index, and each page bounds its work.

A page needs no transaction: the tail is read first, and everything up to it is committed and never changes. A log
read with a filter that no index serves searches at most `STRETCH` positions, and says how far it came. Recorded time
never goes back along positions and versions, so a bound in time is turned into one of them by halving.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import UUID

from headwater.events.digest import GENESIS
from headwater.events.envelope import StoredRow, Stream
from headwater.log.port import Page, Place, Query
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.statements import statements

SQL: Final = statements("read.sql")
STRETCH = 20_000
_END = 2**63 - 1


def read(connection: Database, query: Query) -> Page:
    """One page."""
    if query.stream is not None:
        return _read_stream(connection, query, query.stream)
    if (
        query.tenant
        or query.stream_types
        or query.types
        or query.run_id is not None
        or query.correlation_id is not None
    ):
        return _read_filtered(connection, query)
    end = _END if query.to_position is None and query.until is None else _end(connection, query)
    rows, more = _fetch(
        connection, "log_page", (query.after, end, query.limit + 1, query.payload), query.limit
    )
    return Page(rows, rows[-1][0] if rows else query.after, not more)


def last_position(connection: Database) -> int:
    return cast("int | None", connection.execute(SQL["last_position"]).get) or 0


def tail(connection: Database) -> Place:
    row = connection.execute(SQL["tail"]).fetchone()
    return Place(*row) if row else Place(0, GENESIS)


def place(connection: Database, position: int) -> Place | None:
    if position == 0:
        return Place(0, GENESIS)
    row = connection.execute(SQL["chain"], (position,)).fetchone()
    return Place(position, row[0]) if row else None


def find(connection: Database, tenant: str, ids: Sequence[UUID]) -> list[StoredRow]:
    """The events with these ids, as far as they are there."""
    found = (connection.execute(SQL["find"], (tenant, id)).fetchone() for id in ids)
    return [cast("StoredRow", row) for row in found if row]


def blobs(connection: Database, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    found = ((hash, connection.execute(SQL["blob"], (tenant, hash)).fetchone()) for hash in hashes)
    return {hash: row[0] for hash, row in found if row}


def _read_filtered(connection: Database, query: Query) -> Page:
    last = _end(connection, query)
    indexed = query.run_id is not None or query.correlation_id is not None
    end = last if indexed else min(last, query.after + STRETCH)
    bounds = (query.after, end, query.limit + 1)
    filters = (query.tenant, _json(query.stream_types), _json(query.types), query.payload)
    own_id = _own_id(query.correlation_id)
    values: tuple[Any, ...]
    if query.run_id is not None:
        values = (*bounds, *filters, query.run_id, query.correlation_id, own_id)
        rows, left = _fetch(connection, "log_of_run", values, query.limit)
    elif query.correlation_id is not None:
        values = (*bounds, *filters, query.correlation_id, own_id)
        rows, left = _fetch(connection, "log_of_correlation", values, query.limit)
    else:
        rows, left = _fetch(connection, "log_filtered", (*bounds, *filters), query.limit)
    seen = rows[-1][0] if left else max(query.after, end)
    return Page(rows, seen, done=seen >= last)


def _read_stream(connection: Database, query: Query, stream: Stream) -> Page:
    key = (stream.tenant, stream.type, stream.id)
    last = _END if query.to_version is None else query.to_version
    if query.until is not None:
        last = min(last, version_of(connection, stream))
        last = bisect_right(
            range(1, last + 1),
            query.until,
            key=lambda version: connection.execute(SQL["stream_recorded_at"], (*key, version)).get,
        )
    name = "stream_backward" if query.backward else "stream_forward"
    bounds = (max(query.from_version, 1), last, query.limit + 1, query.payload)
    rows, more = _fetch(connection, name, (*key, *bounds), query.limit)
    return Page(rows, 0, not more)


def read_streams(
    connection: Database, starts: Sequence[tuple[Stream, int]], limit: int
) -> list[list[StoredRow]]:
    """The first versions of several streams, each from one on, all as of one moment."""
    connection.execute("BEGIN")
    try:
        return [
            _fetch(connection, "stream_forward", (s.tenant, s.type, s.id, version, _END, limit, True), limit)[
                0
            ]
            for s, version in starts
        ]
    finally:
        connection.execute("COMMIT")


def version_of(connection: Database, stream: Stream) -> int:
    key = (stream.tenant, stream.type, stream.id)
    return cast("int | None", connection.execute(SQL["stream_version"], key).get) or 0


def _fetch(
    connection: Database, name: str, values: tuple[Any, ...], limit: int
) -> tuple[list[StoredRow], bool]:
    """Rows as they come, which are tuples in the order of StoredRow, and whether there are more."""
    rows = cast("list[StoredRow]", connection.execute(SQL[name], values).fetchall())
    more = len(rows) > limit
    if more:
        rows.pop()
    return rows, more


def _end(connection: Database, query: Query) -> int:
    """The last position that the query may bring."""
    last = last_position(connection)
    if query.to_position is not None:
        last = min(last, query.to_position)
    if query.until is not None:
        last = bisect_right(
            range(1, last + 1),
            query.until,
            key=lambda position: connection.execute(SQL["recorded_at"], (position,)).get,
        )
    return last


def _json(values: tuple[str, ...]) -> str | None:
    return json.dumps(values) if values else None


def _own_id(correlation_id: str | None) -> UUID | None:
    """The event whose own id this is, written as ids are; an event that nothing caused is its own correlation."""
    try:
        id = UUID(correlation_id or "")
    except ValueError:
        return None
    return id if str(id) == correlation_id else None

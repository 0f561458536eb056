"""Importing a log: rows as they were, into an empty file, all or nothing.

The write lock is held from the check that the log is empty until the commit, on a connection of its own; whoever
appends meanwhile waits. A source that fails leaves the log empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

from headwater.errors import Refused
from headwater.log.port import RebuildSide, Restored
from headwater.log.sqlite.connections import Lane
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.read import last_position
from headwater.log.sqlite.side import SideTables
from headwater.log.sqlite.statements import statements
from headwater.log.sqlite.transact import commit, roll_back

_SQL = statements("append.sql")


async def restore(
    lane: Lane, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
) -> int:
    """Write all that the source brings; the number of events."""
    try:
        await lane.run(_begin)
        async for part in source:
            await lane.run(partial(_write, part=part, side=side))
        return await lane.run(lambda connection: _finish(connection, incarnation), big=True)
    finally:
        await lane.run(roll_back)


def _begin(connection: Database) -> None:
    connection.execute("BEGIN IMMEDIATE")
    events = last_position(connection)
    if events:
        raise Refused(f"This log holds {events} events. Import needs an empty one.")


def _write(connection: Database, part: Restored, side: RebuildSide | None) -> None:
    blobs = ((tenant, hash, data) for (tenant, hash), data in part.blobs.items())
    connection.executemany(_SQL["insert_blob"], blobs)
    connection.executemany(_SQL["insert_event"], part.rows)
    connection.executemany(_SQL["insert_tenant"], [(tenant,) for tenant in {row.tenant for row in part.rows}])
    if side is None:
        return
    tables = SideTables(connection)
    for row in part.rows:
        for change in side(row):
            tables.apply(row.tenant, change, row.recorded_at)


def _finish(connection: Database, incarnation: UUID) -> int:
    connection.execute(_SQL["set_incarnation"], (incarnation,))
    events = last_position(connection)
    commit(connection)
    return events

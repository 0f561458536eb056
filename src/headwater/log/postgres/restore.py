"""Writing an exported log into an empty one, as it was: one transaction, so a broken import leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from headwater.errors import NotSupported, Refused
from headwater.events.envelope import StoredRow
from headwater.log.port import DEFAULT_SHARD, RebuildSide, Restored
from headwater.log.postgres.append import flatten_side
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble

_COLUMNS: Final = [*StoredRow._fields, "shard"]
_LOCK: Final = "SELECT pg_advisory_xact_lock(1214731852, $1)"
_EVENTS: Final = "SELECT position FROM headwater.place($1)"
_TENANTS: Final = (
    "INSERT INTO headwater.tenants (tenant, shard) SELECT t, $2 FROM unnest($1::text[]) t ON CONFLICT DO NOTHING"
)
_SIDE: Final = "SELECT headwater.apply_side($1, $2, $3, $4, $5, $6, $7, $8)"
_INCARNATION: Final = "UPDATE headwater.log SET incarnation = $1"


async def restore(
    connections: Connections, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
) -> int:
    """Import; the number of events. Appends of others wait meanwhile: an empty log has no traffic to speak of."""
    if not connections.access.crosses_tenants:
        raise NotSupported("Only a login that crosses tenants may import a log: use a member of headwater_worker.")
    try:
        connection = await connections.open()
        try:
            async with connection.transaction():
                await connection.execute(_LOCK, DEFAULT_SHARD)
                if there := await connection.fetchval(_EVENTS, DEFAULT_SHARD):
                    raise Refused(f"This log holds {there} events. Import needs an empty one.")
                count = 0
                async for part in source:
                    count += await _write(connection, part, side)
                await connection.execute(_INCARNATION, incarnation)
                return count
        finally:
            await connection.close(timeout=10)
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error


async def _write(connection: Any, part: Restored, side: RebuildSide | None) -> int:
    if part.blobs:
        rows = [(tenant, hash, data) for (tenant, hash), data in part.blobs.items()]
        await connection.copy_records_to_table(
            "blobs", schema_name="headwater", records=rows, columns=["tenant", "hash", "bytes"]
        )
    if part.rows:
        await connection.execute(_TENANTS, sorted({row.tenant for row in part.rows}), DEFAULT_SHARD)
        await connection.copy_records_to_table(
            "events",
            schema_name="headwater",
            records=[(*row, DEFAULT_SHARD) for row in part.rows],
            columns=_COLUMNS,
        )
    for row in part.rows if side else ():
        for change in side(row) if side else ():
            columns = [[value] for value in (row.tenant, *flatten_side(change))]
            await connection.execute(_SIDE, row.recorded_at, *columns)
    return len(part.rows)

"""Writing an exported log into an empty one, as it was.

It is one transaction under the shard's lock, so a broken import leaves nothing, and nothing can be appended between
the look whether the log is empty and the end. Here alone the lock is held while a client works: an empty log has no
traffic. COPY is faster, but Postgres has none for tables with row-level security.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from headwater.errors import NotSupported, Refused
from headwater.log.port import DEFAULT_SHARD, RebuildSide, Restored
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.side import flat_rows
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble


async def restore(
    connections: Connections, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
) -> int:
    """Import; the number of events."""
    if not connections.access.crosses_tenants:
        raise NotSupported(
            "Only a login that crosses tenants may import a log: use a member of headwater_worker."
        )
    try:
        connection = await connections.open()
        try:
            async with connection.transaction():
                await connection.execute(queries()["lock_shard"], DEFAULT_SHARD)
                if there := await connection.fetchval(queries()["place"], DEFAULT_SHARD, None):
                    raise Refused(f"This log holds {there} events. Import needs an empty one.")
                count = 0
                async for part in source:
                    await _write(connection, part, side)
                    count += len(part.rows)
                await connection.execute(queries()["restore_incarnation"], incarnation)
                return count
        finally:
            await connection.close(timeout=10)
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error


async def _write(connection: Any, part: Restored, side: RebuildSide | None) -> None:
    blobs: dict[str, dict[bytes, bytes]] = {}
    for (tenant, hash), data in part.blobs.items():
        blobs.setdefault(tenant, {})[hash] = data
    for tenant, datas in blobs.items():
        await connection.execute(queries()["put_blobs"], tenant, list(datas), list(datas.values()))
    if not part.rows:
        return
    tenants = sorted({row.tenant for row in part.rows})
    await connection.execute(queries()["restore_tenants"], tenants, DEFAULT_SHARD)
    columns = zip(*part.rows, strict=True)
    await connection.execute(queries()["restore_events"], DEFAULT_SHARD, *columns)
    if side is None:
        return
    for row in part.rows:
        if changes := flat_rows(list(side(row))):
            flat = zip(*[(row.tenant, *change) for change in changes], strict=True)
            await connection.execute(queries()["restore_side"], row.recorded_at, *flat)

"""Side rows, claims, large payloads and snapshots: one query each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.events.envelope import Stream
from headwater.log.port import Claimed, DueRow, FenceRow, HeldKey, ReadyRow, Release, SnapshotRow
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.statements import queries


class RowStore:
    """The rows beside the events."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._queries = queries()

    async def _fetch(self, name: str, tenant: str | None, *arguments: Any) -> Sequence[Any]:
        return await self._connections.fetch(self._queries[name], tenant, *arguments, tenant=tenant)

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        hashes, datas = zip(*blobs, strict=True)
        await self._fetch("put_blobs", tenant, hashes, datas)

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        rows = await self._fetch("get_blobs", tenant, hashes)
        return {row["hash"]: row["bytes"] for row in rows}

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        acting = self._connections.acting({tenant})
        sql = self._queries["claim"]
        return [Claimed(*row) for row in await self._connections.fetch_any(sql, acting, tenant, keys, holder)]

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        acting = self._connections.acting({row.tenant for row in rows})
        columns = zip(*rows, strict=True)
        freed = await self._connections.fetch_any(self._queries["release"], acting, *columns)
        numbers = {row[0] for row in freed}
        return [number in numbers for number in range(1, len(rows) + 1)]

    async def keys(self, tenant: str, prefix: str, limit: int) -> Sequence[HeldKey]:
        return [HeldKey(*row) for row in await self._fetch("keys", tenant, prefix, limit)]

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        return [FenceRow(*row) for row in await self._fetch("fences", tenant, keys)]

    async def due(self, tenant: str | None, limit: int, *, by_now: bool) -> Sequence[DueRow]:
        return [DueRow(*row) for row in await self._fetch("due", tenant, limit, by_now)]

    async def ready(self, tenant: str | None, queue: str, limit: int) -> Sequence[ReadyRow]:
        return [ReadyRow(*row) for row in await self._fetch("ready", tenant, queue, limit)]

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        tenant, stream = row.stream.tenant, row.stream
        await self._fetch(
            "save_snapshot",
            tenant,
            stream.type,
            stream.id,
            row.name,
            row.fold_version,
            row.version,
            row.chain,
            row.encoding,
            row.state,
        )
        await self._fetch("prune_snapshots", tenant, stream.type, stream.id, row.name, keep)

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        rows = await self._fetch(
            "load_snapshot", stream.tenant, stream.type, stream.id, name, fold_version, to_version
        )
        return SnapshotRow(stream, name, *rows[0]) if rows else None

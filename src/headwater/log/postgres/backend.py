"""The log on Postgres: the port, put together from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from headwater.events.envelope import StoredRow, Stream
from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import (
    SCHEMA_VERSION,
    Call,
    Claimed,
    DueRow,
    FenceRow,
    HeldKey,
    LogInfo,
    Outcome,
    Page,
    Place,
    Query,
    ReadyRow,
    RebuildSide,
    Release,
    Restored,
    SnapshotRow,
    Transaction,
)
from headwater.log.postgres.append import Appender
from headwater.log.postgres.connections import Connections, connect
from headwater.log.postgres.enlist import enlist, transaction
from headwater.log.postgres.hints import PostgresHints
from headwater.log.postgres.migrate import check_schema, has_log, migrate, recorded
from headwater.log.postgres.owners import Owners
from headwater.log.postgres.read import EventReader
from headwater.log.postgres.restore import restore
from headwater.log.postgres.rows import RowStore
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble

T = TypeVar("T")


class PostgresBackend:
    """A log in a Postgres database.

    `direct_url` reaches the server past a pooler, for LISTEN; it may also stand in the address, as
    `?direct_url=...`. Without one behind a pooler, subscriptions poll. With `migrate`, `open` brings the schema up to
    date.
    """

    name: str = "postgres"
    apart = True

    def __init__(
        self,
        url: str,
        *,
        direct_url: str | None = None,
        migrate: bool = False,
        readers: int = 4,
        command_timeout: float = 60.0,
    ) -> None:
        url, in_url = take_direct_url(url)
        self._migrate = migrate
        self._connections = Connections(url, readers=readers, command_timeout=command_timeout)
        self._hints = PostgresHints(self._connections, direct_url or in_url)
        self._appender = Appender(self._connections)
        self._reader = EventReader(self._connections)
        self._rows = RowStore(self._connections)
        self._owners = Owners(self._connections)

    async def open(self) -> LogInfo:
        if self._migrate:
            await migrate(self._connections.url)
        try:
            connection = await connect(self._connections.url)
            try:
                async with connection.transaction():
                    if not await has_log(connection):
                        check_schema({})
                    await self._connections.find_out(connection)
                    check_schema(await recorded(connection))
            finally:
                await connection.close()
        except DRIVER_ERRORS as error:
            raise as_trouble(error) from error
        found = await self._connections.fetch_any(queries()["log_info"])
        return LogInfo(found[0][0], self.name, SCHEMA_VERSION)

    async def close(self) -> None:
        await self._hints.close()
        await self._connections.close()

    @property
    def hints(self) -> PostgresHints:
        return self._hints

    async def now_us(self) -> int:
        found = await self._connections.fetch_any(queries()["now_us"])
        return int(found[0][0])

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        return await self._appender.append(shard, calls)

    async def read(self, query: Query) -> Page:
        return await self._reader.read(query)

    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        return await self._reader.streams(starts, limit)

    async def tail(self, shard: int) -> Place:
        return await self._reader.tail(shard)

    async def place(self, shard: int, position: int) -> Place | None:
        return await self._reader.place(shard, position)

    async def version(self, stream: Stream) -> int:
        return await self._reader.version(stream)

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return await self._reader.find(tenant, ids)

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        await self._rows.put_blobs(tenant, blobs)

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._rows.get_blobs(tenant, hashes)

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        return await self._rows.claim(tenant, keys, holder)

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        return await self._rows.release(rows)

    async def enrol(self, worker: WorkerRow) -> None:
        await self._owners.enrol(worker)

    async def beat(self, worker: str, data: bytes) -> int | None:
        return await self._owners.beat(worker, data)

    async def workers(self) -> Sequence[WorkerRow]:
        return await self._owners.workers()

    async def held(self) -> Mapping[str, int]:
        return await self._owners.held()

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        return await self._owners.held_ready(holder)

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        return await self._owners.sweep(dead, left)

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        return await self._owners.take(holder, labels, limit, without, suspects=suspects)

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        return await self._owners.woken(holder, limit)

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        return await self._owners.take_ready(holder, wanted)

    async def entries(
        self,
        tenant: str | None,
        list: str,
        *,
        label: str | None = None,
        statuses: Sequence[str] = (),
        keys: Sequence[str] = (),
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> Sequence[EntryRow]:
        return await self._owners.entries(tenant, list, label, statuses, keys, before, limit)

    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]:
        return await self._rows.keys(tenant, prefix, limit)

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        return await self._rows.fences(tenant, keys)

    async def due(self, tenant: str | None, limit: int = 1000, *, by_now: bool = True) -> Sequence[DueRow]:
        return await self._rows.due(tenant, limit, by_now=by_now)

    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]:
        return await self._rows.ready(tenant, queue, limit)

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        await self._rows.save_snapshot(row, keep)

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        return await self._rows.load_snapshot(stream, name, fold_version, to_version)

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """Run a statement over all tenants on what is kept beside the log. It may run twice."""
        return await self._connections.fetch(sql, *arguments, tenant=None)

    async def change(self, job: Callable[[Any], Awaitable[T]]) -> T:
        """Write what is kept beside the log in one transaction, whose outcome is unknown when the connection dies."""
        return await self._connections.change(job)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return transaction(self._connections)

    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None:
        await enlist(self._connections, connection, calls)

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int:
        return await restore(self._connections, source, incarnation, side)


def take_direct_url(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    direct = options.pop("direct_url", None)
    return (url, None) if direct is None else (urlunsplit(parts._replace(query=urlencode(options))), direct)

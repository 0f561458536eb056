"""Connections to the log's database: one that appends for each shard, a few for everything else.

A connection that met trouble is thrown away, never mended; the next user opens another. Behind a pooler in transaction
mode, one connection is another session in every transaction, so nothing is prepared by name and every statement
with arguments runs inside an explicit transaction, which keeps its parsing and its execution together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg

from headwater.errors import LogClosed, NotSupported
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble, is_lost

CONNECT_TIMEOUT: Final = 10.0

# Our reads go by index order, page by page. The planner knows how long the average stream is, and would sort the
# rest of a long one for every page.
PLANNING: Final = {"enable_bitmapscan": "off", "enable_seqscan": "off", "jit": "off"}
T = TypeVar("T")
_PLAN: Final = "".join(f"SET LOCAL {name} = {value}; " for name, value in PLANNING.items())


async def connect(url: str, *, timeout: float | None = 60.0) -> Any:
    """A connection that works directly and through a pooler, for a few statements."""
    return await asyncpg.connect(
        url, statement_cache_size=0, timeout=CONNECT_TIMEOUT, command_timeout=timeout
    )


@dataclass(frozen=True, slots=True)
class Access:
    """What the login may do, and what stands between it and the server."""

    crosses_tenants: bool
    pooled: bool


class Connections:
    """The connections of one backend."""

    def __init__(self, url: str, *, readers: int, command_timeout: float) -> None:
        self.url = url
        self._command_timeout = command_timeout
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(readers)
        self._writers: dict[int, Any] = {}
        self._busy: set[Any] = set()
        self._closed = False
        self.access = Access(crosses_tenants=False, pooled=True)

    async def find_out(self, connection: Any) -> None:
        """Learn what this login may do, and whether there is a pooler."""
        self._closed = False
        row = await connection.fetchrow(queries()["who_am_i"])
        if not (row["worker"] or row["server"]):
            raise NotSupported(
                "This login is a member of neither headwater_worker nor headwater_server."
                " As the database's owner, GRANT it one of them."
            )
        self.access = Access(
            crosses_tenants=bool(row["worker"]), pooled=row["pid"] != connection.get_server_pid()
        )

    async def open(self, **settings: str) -> Any:
        """A new connection, set up for its way to the server; a pooler would not keep settings."""
        self._refuse_when_closed()
        pooled = self.access.pooled
        connection = await asyncpg.connect(
            self.url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=self._command_timeout,
            statement_cache_size=0 if pooled else 200,
            max_cached_statement_lifetime=0,
            server_settings=None if pooled else {"application_name": "headwater", **settings},
        )
        try:
            self._refuse_when_closed()  # meanwhile
        except LogClosed:
            connection.terminate()
            raise
        return connection

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LogClosed

    async def writer(self, shard: int) -> Any:
        """The connection on which this shard's batches go, one after the other."""
        connection = self._writers.get(shard)
        if connection is None or connection.is_closed():
            connection = self._writers[shard] = await self.open()
        return connection

    def drop_writer(self, shard: int) -> None:
        connection = self._writers.pop(shard, None)
        if connection is not None:
            connection.terminate()

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[Any]:
        """A connection for one use; waits when all are in use."""
        async with self._room:
            connection = await self._take()
            self._busy.add(connection)
            try:
                yield connection
            except BaseException as error:
                if connection.is_closed() or not isinstance(error, asyncpg.PostgresError) or is_lost(error):
                    connection.terminate()
                raise
            finally:
                self._busy.discard(connection)
                if self._closed:
                    connection.terminate()
                elif not connection.is_closed():
                    self._idle.append(connection)

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.open(**PLANNING)

    async def fetch_once(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """Run a query over all tenants that must not run twice: when the connection dies, what it did is unknown."""
        begin = self.begin(None)
        try:
            async with self.reader() as connection:
                return await _fetch(connection, sql, arguments, begin)
        except DRIVER_ERRORS as error:
            raise as_trouble(error) from error

    async def fetch(self, sql: str, *arguments: Any, tenant: str | None) -> Sequence[Any]:
        """Run one query for a tenant; None for all of them."""
        return await self._run(sql, arguments, self.begin(tenant))

    async def change(self, job: Callable[[Any], Awaitable[T]]) -> T:
        """Do something in one transaction over all tenants. When the connection dies, what became of it is unknown."""
        begin = self.begin(None)
        try:
            async with self.reader() as connection, connection.transaction():
                if begin is not None:
                    await connection.execute(_PLAN)
                return await job(connection)
        except DRIVER_ERRORS as error:
            raise as_trouble(error) from error

    async def fetch_any(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """Run a query that concerns no tenant, or that names its tenants to a function."""
        return await self._run(sql, arguments, self.begin_any())

    async def _run(self, sql: str, arguments: Sequence[Any], begin: str | None) -> Sequence[Any]:
        """A dead connection is tried again once: whatever runs here may run twice."""
        for left in (1, 0):
            try:
                async with self.reader() as connection:
                    return await _fetch(connection, sql, arguments, begin)
            except DRIVER_ERRORS as error:
                if not (left and is_lost(error)):
                    raise as_trouble(error) from error
                self._forget_idle()
        raise AssertionError

    def begin(self, tenant: str | None) -> str | None:
        """What opens the transaction for a statement; None when the statement may go by itself."""
        if tenant == "":
            raise NotSupported("A tenant must be named.")
        if self.access.crosses_tenants:
            return self.begin_any()
        if tenant is None:
            raise NotSupported(
                "This login may not cross tenants: name one, or log in as a member of headwater_worker."
            )
        name = f"convert_from(decode('{tenant.encode().hex()}', 'hex'), 'UTF8')"
        return f"{self.begin_any() or 'BEGIN; '}SELECT headwater.act_for(ARRAY[{name}])"

    def begin_any(self) -> str | None:
        """The same for a statement that concerns no tenant."""
        return f"BEGIN; {_PLAN}" if self.access.pooled else None

    def acting(self, tenants: set[str]) -> list[str] | None:
        """The tenants to name to a function; None for a login that sees them all."""
        return None if self.access.crosses_tenants else sorted(tenants)

    def _forget_idle(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        self._closed = True
        leaving = [*self._idle, *self._writers.values()]
        self._idle.clear()
        self._writers.clear()
        for connection in list(self._busy):
            connection.terminate()
        for connection in leaving:
            with suppress(*DRIVER_ERRORS):
                await connection.close(timeout=2)


async def _fetch(connection: Any, sql: str, arguments: Sequence[Any], begin: str | None) -> Sequence[Any]:
    if begin is None:
        rows: Sequence[Any] = await connection.fetch(sql, *arguments)
        return rows
    await connection.execute(begin)
    try:
        rows = await connection.fetch(sql, *arguments)
    except asyncpg.PostgresError as error:
        if not is_lost(error):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    return rows

"""Where our own backends are tested."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import apsw
import asyncpg

from headwater.events.clock import SystemClock
from headwater.log.memory import MemoryBackend
from headwater.log.port import Backend
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.sqlite.backend import SqliteBackend
from headwater.testing.contract import Site
from tests.servers.postgres import WORKER, Database, Template


class MovingClock(SystemClock):
    """The machine's time, moved."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now_us(self) -> int:
        return super().now_us() + self.by // timedelta(microseconds=1)


class MemorySite(Site):
    name = "memory"
    lacks: ClassVar = {
        "processes": "it lives in one process",
        "network": "there is no server",
        "sql": "there is no database",
        "hold": "an append in memory has no middle in which it could be held",
        "elsewhere": "there is no database",
        "snapshot": "a read in memory is over before anything else happens",
    }

    def __init__(self, make: Any = MemoryBackend) -> None:
        self.make = make
        self.clock = MovingClock()
        self.only = make(clock=self.clock)

    def backend(self) -> Backend:
        return self.only

    def fresh(self) -> "MemorySite":
        return MemorySite(self.make)

    def jump(self, by: timedelta) -> None:
        self.clock.by += by


class SqliteSite(Site):
    name = "sqlite"
    lacks: ClassVar = {
        "network": "there is no server",
        "elsewhere": "another file shares nothing with this one",
    }

    def __init__(self, folder: Path, make: Any = SqliteBackend) -> None:
        self.folder, self.make = folder, make
        self.path = folder / f"{uuid4().hex}.db"
        self.clock = MovingClock()

    def backend(self) -> Backend:
        return self.make(self.path, clock=self.clock)

    def fresh(self) -> "SqliteSite":
        return SqliteSite(self.folder, self.make)

    def jump(self, by: timedelta) -> None:
        self.clock.by += by

    def code(self) -> str:
        return f"from {self.make.__module__} import {self.make.__name__} as Make; backend = Make({str(self.path)!r})"

    def note(self, text: str) -> str:
        with _connected(self.path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
        return f"INSERT INTO notes VALUES ('{text}')"

    async def notes(self) -> list[str]:
        with _connected(self.path) as connection:
            return [text for (text,) in connection.execute("SELECT text FROM notes")]

    @asynccontextmanager
    async def hold(self, fence: str, *, claim: bool = False) -> AsyncIterator[None]:
        with _connected(self.path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if claim:
                connection.execute("UPDATE hw_fences SET epoch = epoch + 1 WHERE key = ?", (fence,))
            yield
            connection.execute("COMMIT")

    @asynccontextmanager
    async def old_snapshot(self) -> AsyncIterator[None]:
        with _connected(self.path) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM hw_events").fetchall()
            yield
            connection.execute("ROLLBACK")


@contextmanager
def _connected(path: Path) -> Iterator[apsw.Connection]:
    """One more connection of the same library to the file."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    try:
        yield connection
    finally:
        connection.close()


class PostgresSite(Site):
    """The worker's role writes and reads; holding locks, moving the clock and looking on is the superuser's."""

    name = "postgres"

    def __init__(self, template: Template, make: Any = PostgresBackend) -> None:
        self.template, self.make = template, make
        self.database = Database.create(template.server, template)
        self.alter(
            "UPDATE headwater.log SET incarnation = gen_random_uuid()"
        )  # copies of a template share one
        self.more: list[PostgresSite] = []
        self.moved = timedelta()

    def drop(self) -> None:
        for site in (self, *self.more):
            site.database.drop()

    def backend(self) -> Backend:
        return self.make(self.database.worker_url)

    def fresh(self) -> "PostgresSite":
        self.more.append(PostgresSite(self.template, self.make))
        return self.more[-1]

    def jump(self, by: timedelta) -> None:
        self.moved += by
        self.alter(
            "CREATE OR REPLACE FUNCTION headwater.now_us() RETURNS bigint LANGUAGE sql VOLATILE RETURN"
            f" (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {self.moved // timedelta(microseconds=1)}"
        )

    def alter(self, sql: str) -> None:
        self.database.server.fetch(sql, database=self.database.name)

    def code(self) -> str:
        make, url = self.make, self.database.worker_url
        return f"from {make.__module__} import {make.__name__} as Make; backend = Make({url!r})"

    def address(self) -> tuple[str, int]:
        return self.database.server.host, self.database.server.port

    def backend_at(self, host: str, port: int) -> Backend:
        parts = urlsplit(self.database.worker_url)
        return self.make(
            urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{host}:{port}"))
        )

    def note(self, text: str) -> str:
        self.alter("CREATE TABLE IF NOT EXISTS public.notes (text TEXT)")
        self.alter(f'GRANT INSERT ON public.notes TO "{WORKER}"')
        return f"INSERT INTO public.notes VALUES ('{text}')"

    async def notes(self) -> list[str]:
        rows = self.database.server.fetch("SELECT text FROM public.notes", database=self.database.name)
        return [row["text"] for row in rows]

    @asynccontextmanager
    async def hold(self, fence: str, *, claim: bool = False) -> AsyncIterator[None]:
        raised = "UPDATE headwater.fences SET epoch = epoch + 1 WHERE key = $1"
        locked = "SELECT FROM headwater.fences WHERE key = $1 FOR UPDATE"
        async with self._transaction(raised if claim else locked, fence):
            yield

    @asynccontextmanager
    async def idle_elsewhere(self) -> AsyncIterator[None]:
        async with self._transaction("SELECT pg_current_xact_id()", database=None):
            yield

    @asynccontextmanager
    async def old_snapshot(self) -> AsyncIterator[None]:
        async with self._transaction("SELECT count(*) FROM headwater.events", isolation="repeatable_read"):
            yield

    @asynccontextmanager
    async def _transaction(
        self, sql: str, *arguments: object, isolation: Any = None, database: str | None = ""
    ) -> AsyncIterator[None]:
        """A transaction of the superuser that is open for as long as this is entered."""
        name = self.database.name if database == "" else database
        connection = await asyncpg.connect(self.database.server.url(database=name))
        try:
            async with connection.transaction(isolation=isolation):
                await connection.fetch(sql, *arguments)
                yield
        finally:
            await connection.close()

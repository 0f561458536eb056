"""The limit: what a durable workflow cannot do without, and nothing else.

A workflow of ten steps is twelve appends, each durable before the next begins: its start, the ten results, its end.
They are rows of 300 bytes, written with group commit: one flush is under way, what arrives meanwhile is the next. On
Postgres a flush is one `INSERT ... unnest` through asyncpg; on SQLite one transaction through apsw, `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.bare.sqlite import connect
from bench.harness import rate, together

Row = tuple[int, int, bytes]
_TABLE = "CREATE TABLE bare_floor (run bigint, version bigint, data {bytes}, PRIMARY KEY (run, version))"
_INSERT_MANY = "INSERT INTO bare_floor SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])"
_INSERT = "INSERT INTO bare_floor VALUES (?, ?, ?)"
_DATA = os.urandom(300)


class Floor:
    """Appends with group commit."""

    def __init__(self, flush: Callable[[list[Row]], Awaitable[None]]) -> None:
        self._flush = flush
        self._queue: list[tuple[Row, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._next = 0

    def append(self, row: Row) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((row, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            await self._flush([row for row, _ in batch])
            for _, future in batch:
                future.set_result(None)
        self._task = None

    async def workflow(self, appends: int = 12) -> None:
        self._next += 1
        run = self._next
        for version in range(appends):
            await self.append((run, version, _DATA))

    async def rate(self, count: int, callers: int) -> float:
        """Workflows a second, `callers` at once."""
        numbers = iter(range(count))

        async def caller(_: int) -> None:
            for _ in numbers:
                await self.workflow()

        return await rate(count, lambda: together(callers, caller))


@asynccontextmanager
async def open_floor(backend: str, address: str) -> AsyncIterator[Floor]:
    if backend == "postgres":
        server = await asyncpg.connect(address)
        try:
            await server.execute(_TABLE.format(bytes="bytea"))
            insert = await server.prepare(_INSERT_MANY)

            async def to_postgres(rows: list[Row]) -> None:
                await insert.fetch(*[list(column) for column in zip(*rows, strict=True)])

            yield Floor(to_postgres)
        finally:
            await server.close()
        return
    file = connect(Path(address.removeprefix("sqlite:///")))
    try:
        file.execute(_TABLE.format(bytes="blob"))

        async def to_sqlite(rows: list[Row]) -> None:
            file.execute("BEGIN IMMEDIATE")
            file.executemany(_INSERT, rows)
            file.execute("COMMIT")
            await asyncio.sleep(0)

        yield Floor(to_sqlite)
    finally:
        file.close()

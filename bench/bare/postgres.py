"""Bare asyncpg: prepared statements, one transaction a row (autocommit) or one `unnest` a batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import asyncpg

from bench.harness import rate, together
from bench.orders import rows

_SCHEMA = Path(__file__).with_name("postgres.sql")
_TYPES = (
    *("bigint", "text", "text", "text", "bigint", "uuid", "text", "integer", "integer", "bigint", "bigint"),
    *("text", "text", "text", "text", "text", "text", "bytea", "bytea", "bytea", "bytea", "bytea"),
)
_COLUMNS = ", ".join(f"${n}" for n in range(1, 23))
_INSERT = f"INSERT INTO bare_events VALUES ({_COLUMNS})"
_INSERT_MINIMAL = "INSERT INTO bare_minimal VALUES ($1, $2)"
_ARRAYS = ", ".join(f"${n}::{type}[]" for n, type in enumerate(_TYPES, 1))
_INSERT_MANY = f"INSERT INTO bare_events SELECT * FROM unnest({_ARRAYS})"
_INSERT_MANY_MINIMAL = "INSERT INTO bare_minimal SELECT * FROM unnest($1::bigint[], $2::bytea[])"
_READ = "SELECT * FROM bare_events WHERE position > $1 ORDER BY position LIMIT $2"
_READ_MINIMAL = "SELECT position, data FROM bare_minimal WHERE position > $1 ORDER BY position LIMIT $2"


class Bare:
    """A database with the two bare tables and open connections; positions go on from sample to sample."""

    def __init__(self, connections: Sequence[asyncpg.Connection]) -> None:
        self._connections = connections
        self._next = 1

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, connections: int) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            opened = [await asyncpg.connect(url) for _ in range(connections)]
            for connection in opened:
                stack.push_async_callback(connection.close)
            await opened[0].execute(_SCHEMA.read_text())
            yield cls(opened)

    async def append(self, count: int, *, minimal: bool = False) -> float:
        """Events a second, a commit each, on all connections."""
        width = len(self._connections)
        made = self._rows(count, minimal=minimal)
        prepared = [await c.prepare(_INSERT_MINIMAL if minimal else _INSERT) for c in self._connections]

        async def caller(number: int) -> None:
            insert = prepared[number].fetch
            for row in made[number::width]:
                await insert(*row)

        return await rate(count, lambda: together(width, caller))

    async def append_batches(
        self, count: int, batch: int, connections: int, *, minimal: bool = False
    ) -> float:
        """Events a second, `batch` rows a commit through `unnest`."""
        made = self._rows(count, minimal=minimal)
        calls = [
            [list(column) for column in zip(*made[start : start + batch], strict=True)]
            for start in range(0, count, batch)
        ]
        chosen = self._connections[:connections]
        prepared = [await c.prepare(_INSERT_MANY_MINIMAL if minimal else _INSERT_MANY) for c in chosen]

        async def caller(number: int) -> None:
            insert = prepared[number].fetch
            for columns in calls[number::connections]:
                await insert(*columns)

        return await rate(count, lambda: together(connections, caller))

    async def fill(self, count: int) -> None:
        """Rows to be read, without a clock."""
        made = self._rows(count, minimal=False)
        first = self._connections[0]
        await first.copy_records_to_table("bare_events", records=made)
        await first.copy_records_to_table("bare_minimal", records=[(row[0], row[17]) for row in made])
        await first.execute("VACUUM ANALYZE")

    async def pages(self, size: int, *, minimal: bool = False) -> AsyncIterator[Sequence[Any]]:
        """The whole table, in pages."""
        read = await self._connections[0].prepare(_READ_MINIMAL if minimal else _READ)
        after = 0
        while page := await read.fetch(after, size):
            yield page
            after = page[-1][0]

    def _rows(self, count: int, *, minimal: bool) -> list[tuple[Any, ...]]:
        first, self._next = self._next, self._next + count
        made = rows(count, 32, first=first)
        return [(row.position, row.data) for row in made] if minimal else list(made)

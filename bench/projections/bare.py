"""The limit: what a program without a projector writes. The driver, Pydantic on each payload, the same fold in a
dictionary, and one transaction a page that writes the changed states and how far it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.bare import postgres as bare_postgres
from bench.bare import sqlite as bare_sqlite
from bench.harness import rate
from bench.orders import OrderPlaced
from bench.projections.domain import Bought, bought

PAGE = 5_000
_validate = OrderPlaced.__pydantic_validator__.validate_json
_TABLES = """
CREATE TABLE IF NOT EXISTS bare_states (name TEXT, key TEXT, state {bytes} NOT NULL, PRIMARY KEY (name, key));
CREATE TABLE IF NOT EXISTS bare_checkpoints (name TEXT PRIMARY KEY, position BIGINT NOT NULL);
"""
_CHECKPOINT = (
    "INSERT INTO bare_checkpoints VALUES ({0}, {1})"
    " ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
_SAVE = (
    "INSERT INTO bare_states SELECT $1, * FROM unnest($2::text[], $3::bytea[])"
    " ON CONFLICT (name, key) DO UPDATE SET state = excluded.state"
)
_Rows = Sequence[tuple[str, bytes]]
_Write = Callable[[str, int, _Rows], Awaitable[None]]


class BareFold:
    """One log to fold, under a new name each time."""

    def __init__(self, pages: Callable[[], AsyncIterator[Sequence[Any]]], write: _Write, keys: int) -> None:
        self._pages, self._write, self._keys, self._folds = pages, write, keys, 0

    async def fold(self, events: int) -> float:
        """Events a second."""
        self._folds += 1
        name = f"fold-{self._folds}"

        async def work() -> None:
            states: dict[str, Bought] = {}
            async for page in self._pages():
                changed: set[str] = set()
                for row in page:
                    key = f"{row[2]}/{row[0] % self._keys}"  # the bare table has 32 streams
                    states[key] = bought(states.get(key) or Bought(), _validate(row[17]))
                    changed.add(key)
                rows = [(key, states[key].model_dump_json().encode()) for key in changed]
                await self._write(name, page[-1][0], rows)

        return await rate(events, work)


@asynccontextmanager
async def on_postgres(url: str, events: int, keys: int) -> AsyncGenerator[BareFold]:
    async with bare_postgres.Bare.open(url, 1) as bare:
        await bare.fill(events)
        connection = await asyncpg.connect(url)
        await connection.execute(_TABLES.format(bytes="BYTEA"))

        async def write(name: str, position: int, rows: _Rows) -> None:
            async with connection.transaction():
                await connection.execute(_SAVE, name, [row[0] for row in rows], [row[1] for row in rows])
                await connection.execute(_CHECKPOINT.format("$1", "$2"), name, position)

        try:
            yield BareFold(lambda: bare.pages(PAGE), write, keys)
        finally:
            await connection.close()


@asynccontextmanager
async def on_sqlite(file: Path, events: int, keys: int) -> AsyncGenerator[BareFold]:
    with bare_sqlite.Bare.open(file) as bare:
        bare.fill(events)
        connection: Any = bare_sqlite.connect(file)
        connection.execute(_TABLES.format(bytes="BLOB"))

        async def write(name: str, position: int, rows: _Rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            save = "INSERT OR REPLACE INTO bare_states VALUES (?, ?, ?)"
            connection.executemany(save, [(name, *row) for row in rows])
            connection.execute(_CHECKPOINT.format("?", "?"), (name, position))
            connection.execute("COMMIT")

        yield BareFold(lambda: _async(bare.pages(PAGE)), write, keys)
        connection.close()


async def _async(pages: Iterable[Sequence[Any]]) -> AsyncIterator[Sequence[Any]]:
    for page in pages:
        yield page

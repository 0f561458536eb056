"""A user's table in the log's own Postgres database.

Whoever owns the database makes it (`headwater projection tables`), since the worker's role has no right to make
tables. States, checkpoint and rows go in one transaction of a few statements; if the answer to its commit is lost, the
checkpoint tells what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from headwater.errors import CheckpointMoved, StorageRefused
from headwater.log.postgres.backend import PostgresBackend
from headwater.projections.postgres import save_states
from headwater.projections.statements import statements
from headwater.projections.stores import Checkpoint, Key, StateRow
from headwater.projections.tables import Lines, RowsRefused, Table, Tried, as_stored, sweep

_SQL: Final = statements("postgres_tables.sql")
_CLASSES: Final = ("22", "23", "P0")


class PostgresTable:
    """One projection's."""

    def __init__(self, backend: PostgresBackend, projection: str, table: Table[Any]) -> None:
        self._backend, self._projection, self._table = backend, projection, table
        self._sql = table.filled(_SQL, projection, [f"${n}" for n in range(4, 4 + len(table.columns))])

    @property
    def made(self) -> str:
        """What its owner runs to make it."""
        names = ("make_table", "make_index", "make_view", "give_table", "give_view")
        return "".join(f"{self._sql[name]};\n" for name in names)

    async def make(self) -> None:
        await self._backend.change(lambda connection: connection.execute(self.made))

    async def check(self) -> None:
        try:
            for name in ("look", "look_at_view"):
                await self._backend.fetch(self._sql[name])
        except StorageRefused as error:
            raise StorageRefused(
                f"Table {self._table.stored!r} of projection {self._projection!r} is not there, or not as it was "
                f"declared ({error}). As the database's owner, run `headwater projection tables MODULE:APP --make`; a "
                "table that is there with other columns needs a new name, and the projection a new version."
            ) from error

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow], lines: Lines) -> Checkpoint:
        async def body(connection: Any) -> bool:
            if not await save_states(connection, at, position, rows):
                return False
            try:
                await self._write(connection, at, lines)
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not _is_refusal(error):
                    raise
                raise RowsRefused(str(error)) from error
            return True

        if not await self._backend.change(body):
            raise CheckpointMoved(at.name)
        return at._replace(position=position)

    async def refused(self, at: Checkpoint, lines: Lines) -> Mapping[Key, str]:
        found: dict[Key, str] = {}

        async def body(connection: Any) -> None:
            await self._write(connection, at, dict.fromkeys(lines, ()))
            for key, made in lines.items():
                try:
                    async with connection.transaction():
                        await self._write(connection, at, {key: made})
                except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    if not _is_refusal(error):
                        raise
                    found[key] = str(error)
            raise Tried

        with suppress(Tried):
            await self._backend.change(body)
        return found

    async def sweep(self) -> None:
        async def following(generation: int) -> int | None:
            [[found]] = await self._backend.fetch(self._sql["next"], generation)
            return None if found is None else int(found)

        async def take_away(generation: int) -> bool:
            return bool(await self._backend.fetch(self._sql["sweep"], self._projection, generation))

        await sweep(following, take_away)

    async def _write(self, connection: Any, at: Checkpoint, lines: Lines) -> None:
        if at.position == 0:
            await connection.execute(self._sql["empty"], at.generation)
        tenants, keys = [key.tenant for key in lines], [key.key for key in lines]
        await connection.execute(self._sql["delete"], at.generation, tenants, keys)
        made = as_stored(at.generation, lines)
        if made:
            await connection.executemany(self._sql["insert"], made)


def _is_refusal(error: Exception) -> bool:
    """Whether it is the rows' fault: an error of data or constraints, or a value that the driver cannot send."""
    state = getattr(error, "sqlstate", None)
    return isinstance(error, ValueError) if state is None else state[:2] in _CLASSES

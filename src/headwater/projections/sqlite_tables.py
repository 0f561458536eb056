"""A user's table in the log's own SQLite file. It is made when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import apsw

from headwater.errors import CheckpointMoved, StorageRefused
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.sqlite.database import Database
from headwater.projections.sqlite import save_states
from headwater.projections.statements import statements
from headwater.projections.stores import Checkpoint, Key, StateRow
from headwater.projections.tables import Lines, RowsRefused, Table, Tried, as_stored, sweep

_SQL: Final = statements("sqlite_tables.sql")
_REFUSALS: Final = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    ValueError,
    TypeError,
    OverflowError,
)


class SqliteTable:
    """One projection's."""

    def __init__(self, backend: SqliteBackend, projection: str, table: Table[Any]) -> None:
        self._backend, self._projection, self._table = backend, projection, table
        self._sql = table.filled(_SQL, projection, "?" * len(table.columns))

    @property
    def made(self) -> str:
        return "".join(f"{self._sql[name]};\n" for name in ("make_table", "make_index", "make_view"))

    async def make(self) -> None:
        await self._backend.change(lambda connection: connection.execute(self.made).fetchall())

    async def check(self) -> None:
        def body(connection: Database) -> None:
            for name in ("look", "look_at_view"):
                connection.execute(self._sql[name]).fetchall()

        await self.make()
        try:
            await self._backend.look(body)
        except StorageRefused as error:
            raise StorageRefused(
                f"Table {self._table.stored!r} has other columns than projection {self._projection!r} declares "
                f"({error}). Give the new shape a new name, and raise the projection's version."
            ) from error

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow], lines: Lines) -> Checkpoint:
        def body(connection: Database) -> bool:
            if not save_states(connection, at, position, rows):
                return False
            try:
                self._write(connection, at, lines)
            except _REFUSALS as error:
                raise RowsRefused(str(error)) from error
            return True

        if not await self._backend.change(body):
            raise CheckpointMoved(at.name)
        return at._replace(position=position)

    async def refused(self, at: Checkpoint, lines: Lines) -> Mapping[Key, str]:
        found: dict[Key, str] = {}

        def body(connection: Database) -> None:
            self._write(connection, at, dict.fromkeys(lines, ()))
            for key, made in lines.items():
                connection.execute("SAVEPOINT one").fetchall()
                try:
                    self._write(connection, at, {key: made})
                except _REFUSALS as error:
                    found[key] = str(error)
                    connection.execute("ROLLBACK TO one").fetchall()
                connection.execute("RELEASE one").fetchall()
            raise Tried

        with suppress(Tried):
            await self._backend.change(body)
        return found

    async def sweep(self) -> None:
        async def following(generation: int) -> int | None:
            return await self._backend.look(lambda c: c.execute(self._sql["next"], (generation,)).get)

        async def take_away(generation: int) -> bool:
            of = (self._projection, generation)
            return bool(await self._backend.change(lambda c: c.execute(self._sql["sweep"], of).fetchall()))

        await sweep(following, take_away)

    def _write(self, connection: Database, at: Checkpoint, lines: Lines) -> None:
        if at.position == 0:
            connection.execute(self._sql["empty"], (at.generation,)).fetchall()
        connection.executemany(self._sql["delete"], [(at.generation, *key) for key in lines]).fetchall()
        connection.executemany(self._sql["insert"], as_stored(at.generation, lines)).fetchall()

"""States in the log's own SQLite file. A SQLite file has one writer, so each method that writes is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from headwater.errors import CheckpointMoved
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.sqlite.database import Database
from headwater.projections.statements import statements
from headwater.projections.stores import Checkpoint, Key, StateRow

_MANY: Final = 100
_SQL: Final = statements("sqlite.sql")


class SqliteStore:
    """The store beside the log."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        return await self._backend.look(
            lambda c: [_checkpoint(row) for row in c.execute(_SQL["checkpoints"], (name,))]
        )

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        await self._backend.change(
            lambda c: c.execute(_SQL["create"], (name, generation, version, live)).fetchall()
        )

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        now = await self._backend.now_us()
        row = await self._backend.change(
            lambda c: c.execute(_SQL["take"], (name, generation, holder, now, lease_us)).fetchone()
        )
        return None if row is None else _checkpoint(row)

    async def release(self, name: str, generation: int, holder: str) -> None:
        await self._backend.change(
            lambda c: c.execute(_SQL["release"], (name, generation, holder)).fetchall()
        )

    async def pause(self, name: str, *, paused: bool) -> bool:
        return bool(await self._backend.change(lambda c: c.execute(_SQL["pause"], (name, paused)).fetchall()))

    async def swap(self, at: Checkpoint) -> bool:
        def body(connection: Database) -> bool:
            here = (at.name, at.generation, at.epoch, at.position)
            if not connection.execute(_SQL["here"], here).fetchall():
                return False
            if connection.execute(_SQL["behind"], (at.name, at.position)).fetchall():
                return False
            paused = connection.execute(_SQL["was_paused"], (at.name,)).get or 0
            for statement in ("drop_others", "drop_other_states"):
                connection.execute(_SQL[statement], (at.name, at.generation)).fetchall()
            connection.execute(_SQL["make_live"], (at.name, at.generation, paused)).fetchall()
            return True

        return await self._backend.change(body)

    async def drop(self, name: str, generation: int) -> None:
        def body(connection: Database) -> None:
            if connection.execute(_SQL["drop"], (name, generation)).fetchall():
                connection.execute(_SQL["drop_states"], (name, generation)).fetchall()

        await self._backend.change(body)

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        def body(connection: Database) -> dict[Key, StateRow]:
            found = (connection.execute(_SQL["load"], (name, generation, *key)).fetchone() for key in keys)
            return {Key(row[0], row[1]): StateRow(*row) for row in found if row}

        return await self._backend.look(body)

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        if not await self._backend.change(lambda c: save_states(c, at, position, rows)):
            raise CheckpointMoved(at.name)
        return at._replace(position=position)

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        return await self._rows("page", (name, generation, *(after or ("", "")), limit))

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        return await self._rows("parked", (name, generation, limit))

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        def body(connection: Database) -> int:
            asked = connection.execute(_SQL["request"], (name, again, tenant, key)).fetchall()
            connection.execute(_SQL["disturb"], (name,)).fetchall()
            return len(asked)

        return await self._backend.change(body)

    async def _rows(self, statement: str, values: tuple[Any, ...]) -> list[StateRow]:
        return await self._backend.look(
            lambda c: [StateRow(*row) for row in c.execute(_SQL[statement], values)]
        )


def save_states(connection: Database, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> bool:
    """Move the checkpoint and write states, in the transaction that is open; whether it was where `at` says."""
    here = (at.name, at.generation, at.epoch, at.position, position)
    if not connection.execute(_SQL["move"], here).fetchall():
        return False
    many = _as_json(rows) if len(rows) >= _MANY else None
    if many is not None:
        connection.execute(_SQL["save_many"], (at.name, at.generation, many)).fetchall()
    else:
        connection.executemany(_SQL["save"], [(at.name, at.generation, *row) for row in rows]).fetchall()
    return True


def _as_json(rows: Sequence[StateRow]) -> str | None:
    """Many rows as one value, for one statement during which Python may go on; None if a state is no text."""
    try:
        return orjson.dumps(
            [(*row[:3], None if row.state is None else row.state.decode(), *row[4:]) for row in rows]
        ).decode()
    except ValueError:
        return None


def _checkpoint(row: tuple[Any, ...]) -> Checkpoint:
    name, generation, version, live, paused, position, epoch, holder = row
    return Checkpoint(name, generation, version, bool(live), bool(paused), position, epoch, holder)

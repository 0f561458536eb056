"""States in the log's own Postgres database.

`save` is one statement. A second sending of it, after a lost answer, finds the checkpoint moved and writes nothing; the
caller reads where it is and goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headwater.errors import CheckpointMoved
from headwater.log.postgres.backend import PostgresBackend
from headwater.projections.statements import statements
from headwater.projections.stores import Checkpoint, Key, StateRow

_SQL: Final = statements("postgres.sql")
_MARKS: Final = StateRow._fields.index("parked")


class PostgresStore:
    """The store beside the log; its login is a member of headwater_worker."""

    def __init__(self, backend: PostgresBackend) -> None:
        self._backend = backend

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        return [Checkpoint(*row) for row in await self._run("checkpoints", name)]

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        await self._run("create", name, generation, version, live)

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        rows = await self._run("take", name, generation, holder, lease_us)
        return Checkpoint(*rows[0]) if rows else None

    async def release(self, name: str, generation: int, holder: str) -> None:
        await self._run("release", name, generation, holder)

    async def pause(self, name: str, *, paused: bool) -> bool:
        return bool(await self._run("pause", name, paused))

    async def swap(self, at: Checkpoint) -> bool:
        rows = await self._run("swap", at.name, at.generation, at.epoch, at.position)
        return bool(rows[0][0])

    async def drop(self, name: str, generation: int) -> None:
        await self._run("drop", name, generation)

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        rows = await self._run("load", name, generation, [k.tenant for k in keys], [k.key for k in keys])
        return {Key(row[0], row[1]): StateRow(*row) for row in rows}

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        if not await self._run("save", *_saved(at, position, rows)):
            raise CheckpointMoved(at.name)
        return at._replace(position=position)

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        rows = await self._run("page", name, generation, *(after or ("", "")), limit)
        return [StateRow(*row) for row in rows]

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        return [StateRow(*row) for row in await self._run("parked", name, generation, limit)]

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        rows = await self._run("request", name, again, tenant, key)
        return int(rows[0][0])

    async def _run(self, statement: str, *arguments: Any) -> Sequence[Any]:
        return await self._backend.fetch(_SQL[statement], *arguments)


async def save_states(connection: Any, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> bool:
    """The same as `save`, in the transaction that is open; whether the checkpoint was where `at` says."""
    return bool(await connection.fetch(_SQL["save"], *_saved(at, position, rows)))


def _saved(at: Checkpoint, position: int, rows: Sequence[StateRow]) -> list[Any]:
    marked = any(row.parked or row.error or row.again for row in rows)
    columns = [[row[i] for row in rows] if marked or i < _MARKS else [] for i in range(len(StateRow._fields))]
    return [at.name, at.generation, at.epoch, at.position, position, *columns]

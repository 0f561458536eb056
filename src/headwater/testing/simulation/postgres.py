"""A real Postgres as the storage of a world: each process has its own connections to one database.

Calls run for real, one at a time, and are complete at once; the seed decides when they arrive and when their answers
become visible. So what Postgres does between two overlapping calls is not simulated.

The database is the simulator's own. It is emptied before each world, and its clock is the world's: no real time gets
into the log, and a seed gives the same log twice. A database is taken only when its log is empty; that it was taken is
marked in it, and nothing but the mark allows to empty it.
"""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from uuid import UUID

from headwater.errors import NotSupported
from headwater.events.clock import Clock
from headwater.log.port import Backend
from headwater.testing.simulation.elsewhere import ElsewhereBackend, RealLoop

if TYPE_CHECKING:
    from headwater.log.postgres.backend import PostgresBackend

_LOOKS = 100


class PostgresStorage:
    """The log in the database at `url`, where the login is the owner of the tables."""

    remote = True

    def __init__(self, url: str | None, clock: Clock, incarnation: UUID) -> None:
        if url is None:
            raise NotSupported("To simulate on Postgres, name a migrated database that may be emptied.")
        self._url, self._clock, self._told = url, clock, 0
        self._backends: list[ElsewhereBackend] = []
        self._survivor: PostgresBackend | None = None
        self._real = RealLoop()
        try:
            self._control = self._real.run(_take(url, incarnation))
        except BaseException:
            self._real.close()
            raise
        self._real.tell_time = self._tell_time

    def backend(self, clock: Clock) -> Backend:
        backend = ElsewhereBackend(self._real, self._new(), self._surviving)
        self._backends.append(backend)
        return backend

    def crashed(self, backend: Backend) -> None:
        if isinstance(backend, ElsewhereBackend):
            backend.abandon()

    def left(self) -> list[str]:
        self._close_survivor()
        count = self._real.run(self._count_left())
        return [f"{count} connections to the database"] if count else []

    def close(self) -> None:
        for backend in self._backends:
            backend.abandon()
        self._close_survivor()
        self._real.run(self._control.close(timeout=10))
        self._real.close()

    def _new(self) -> PostgresBackend:
        from headwater.log.postgres.backend import PostgresBackend

        return PostgresBackend(self._url)

    def _surviving(self) -> PostgresBackend:
        """Carries out what was sent by those who are gone."""
        if self._survivor is None:
            survivor = self._new()
            self._real.run(survivor.open())
            self._survivor = survivor
        return self._survivor

    def _close_survivor(self) -> None:
        if self._survivor is not None:
            self._real.run(self._survivor.close())
            self._survivor = None

    async def _tell_time(self) -> None:
        now = self._clock.now_us()
        if now != self._told:
            await self._control.fetchval("SELECT setval('headwater.simulated_now', $1)", now)
            self._told = now

    async def _count_left(self) -> int:
        """The server needs a moment to notice that a client has gone."""
        count = 0
        for _ in range(_LOOKS):
            count = int(await self._control.fetchval(_sql("left")))
            if not count:
                break
            await asyncio.sleep(0.02)
        return count


async def _take(url: str, incarnation: UUID) -> Any:
    """A connection to a database that is ours to write to, with an empty log."""
    import asyncpg

    from headwater.log.postgres.connections import CONNECT_TIMEOUT
    from headwater.log.postgres.migrate import check_schema, recorded
    from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble

    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, command_timeout=60)
        try:
            check_schema(await recorded(connection))
            [facts] = await connection.fetch(_sql("facts"))
            _refuse(facts)
            async with connection.transaction():
                if not facts["taken"]:
                    await connection.execute(_sql("take"))
                await connection.execute(_sql("empty"))
                await connection.execute("UPDATE headwater.log SET incarnation = $1", incarnation)
        except BaseException:
            connection.terminate()
            raise
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error
    return connection


def _refuse(facts: Any) -> None:
    if not facts["alone"]:
        raise NotSupported("Another simulation runs on this database. Wait for it, or name another database.")
    if not facts["owner"]:
        raise NotSupported(
            "A simulation empties the log's tables. Log in as the owner that `headwater migrate` was run with."
        )
    if facts["used"] and not facts["taken"]:
        raise NotSupported(
            "There are events in this database, and a simulation would delete them. Name one with an empty log."
        )


@cache
def _sql(name: str) -> str:
    return (files("headwater.testing.simulation") / "sql" / f"{name}.sql").read_text(encoding="utf-8")

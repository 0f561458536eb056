"""Points in the client of a Postgres log: every message it sends, and every answer it has understood.

The driver's protocol is replaced, in this process, by one that tells before and after each message. After a message is
sent and before its answer comes, the process dies with the server still at work: the outcome is unknown to everybody
but the server. What goes wrong on the server's side is tested where there is a server to kill.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg
from asyncpg import protocol

from headwater.log.port import Backend
from headwater.log.postgres.backend import PostgresBackend
from headwater.testing.crash_points.points import Points

_TABLES = "events, tenants, keys, fences, due, ready, blobs, snapshots, staged"
_ANSWERED = ("execute", "fetch", "fetchrow", "fetchval", "copy_records_to_table")
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)


class PostgresStage:
    """Two migrated databases. `admin` addresses may empty them; the others are what a worker logs in with."""

    table: str | None = None
    note = "INSERT INTO public.notes VALUES ($1)"

    def __init__(self, urls: dict[str, str], admin: dict[str, str]) -> None:
        self.urls, self.admin = urls, admin

    def clear(self) -> None:
        asyncio.run(self._clear())

    async def _clear(self) -> None:
        for url in self.admin.values():
            connection = await asyncpg.connect(url)
            while await connection.fetchval(_OTHERS):  # noqa: ASYNC110  a killed client's server may still be at work
                await asyncio.sleep(0.001)
            statements = [f"DELETE FROM headwater.{table}" for table in _TABLES.split(", ")]  # noqa: S608
            statements += [
                "UPDATE headwater.log SET incarnation = gen_random_uuid()",
                "DELETE FROM public.notes",
            ]
            await connection.execute("; ".join(statements))
            await connection.close()

    def tap(self, points: Points) -> None:
        plain: Any = protocol.Protocol

        def connection_made(self: Any, transport: Any) -> None:
            plain.connection_made(self, _Transport(transport, points))

        watched = type("Watched", (plain,), {"connection_made": connection_made})
        setattr(protocol, "Protocol", watched)  # noqa: B010  the driver looks it up there
        for name in _ANSWERED:
            _tell_when_answered(name, points)

    def backend(self, name: str) -> Backend:
        return cast(Backend, _WithoutHints(PostgresBackend(self.urls[name])))

    async def notes(self) -> list[str]:
        connection = await asyncpg.connect(self.urls["main"])
        try:
            return [row["text"] for row in await connection.fetch("SELECT text FROM public.notes")]
        finally:
            await connection.close()

    def leftovers(self) -> list[str]:
        return []


class _WithoutHints:
    """Hints go when they like, and would make no two runs alike; they carry no truth."""

    def __init__(self, inner: PostgresBackend) -> None:
        self._inner = inner
        self.hints = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def announce(self, shard: int, position: int) -> None:
        pass

    async def wait(self, timeout: float) -> None:
        await asyncio.sleep(timeout)


class _Transport:
    """A transport that tells of each message. asyncio writes to the socket at once while it takes it."""

    def __init__(self, inner: Any, points: Points) -> None:
        self._inner, self._points = inner, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: Any) -> None:
        with self._points.around(f"message {chr(bytes(data[:1])[0])!r}"):
            self._inner.write(data)

    def writelines(self, data: Any) -> None:
        self.write(b"".join(data))


def _tell_when_answered(name: str, points: Points) -> None:
    method = getattr(asyncpg.Connection, name)

    async def told(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = await method(self, *arguments, **options)
        points.reach(f"answer to {name} {' '.join(str(arguments[0]).split())[:50] if arguments else ''}")
        return answer

    setattr(asyncpg.Connection, name, told)

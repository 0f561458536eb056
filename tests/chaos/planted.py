"""Faults that crash points must find. Each is planted in a child process, by name, before the log is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import headwater.log.sqlite.append as sqlite_append
import headwater.log.sqlite.opening as sqlite_opening
import headwater.log.sqlite.restore as sqlite_restore
from headwater.log.log import Log
from headwater.log.postgres.append import Appender as PostgresAppender
from headwater.log.postgres.connections import Connections
from headwater.log.sqlite.append import Appender as SqliteAppender
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.sqlite.connections import Lane
from headwater.log.sqlite.side import SideTables
from headwater.log.sqlite.transact import roll_back, transact
from headwater.testing.crash_points import Points


def sqlite_commits_after_the_answer() -> None:
    """An append leaves its COMMIT to whatever comes next."""
    open_transactions: list[Any] = []
    run, close = Lane.run, SqliteBackend.close

    def commit() -> None:
        while open_transactions:
            open_transactions.pop().execute("COMMIT")

    def lazily(connection: Any, body: Any) -> Any:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = body(connection)
        except BaseException:
            roll_back(connection)
            raise
        open_transactions.append(connection)
        return result

    async def run_after(self: Lane, *arguments: Any, **options: Any) -> Any:
        commit()
        return await run(self, *arguments, **options)

    async def close_after(self: SqliteBackend) -> None:
        commit()
        await close(self)

    sqlite_append.transact = lazily
    Lane.run = run_after
    SqliteBackend.close = close_after


def sqlite_writes_side_rows_in_another_transaction() -> None:
    append, apply = SqliteAppender.append, SideTables.apply

    def two_transactions(self: SqliteAppender, connection: Any, calls: Sequence[Any]) -> Any:
        held: list[Any] = []
        SideTables.apply = lambda _, *arguments: held.append(arguments)
        try:
            outcomes = append(self, connection, calls)
        finally:
            SideTables.apply = apply
        if held:
            transact(connection, lambda c: [apply(SideTables(c), *arguments) for arguments in held])
        return outcomes

    SqliteAppender.append = two_transactions


def sqlite_does_not_sync_commits() -> None:
    sqlite_opening._SETTINGS = ("synchronous = NORMAL", *sqlite_opening._SETTINGS[1:])


def sqlite_imports_the_name_later() -> None:
    """An import commits its events before it has taken over which log it is."""
    finish = sqlite_restore._finish

    def two_transactions(connection: Any, incarnation: Any) -> int:
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        return finish(connection, incarnation)

    sqlite_restore._finish = two_transactions


def payloads_are_stored_after_the_append() -> None:
    append = Log.append

    async def blobs_last(self: Log, *writes: Any) -> Any:
        prepared = self._preparer.prepare(writes)
        put = self.backend.put_blobs

        async def nothing(*_: Any) -> None:
            pass

        self.backend.put_blobs = nothing
        try:
            appended = await append(self, *writes)
        finally:
            self.backend.put_blobs = put
        if prepared.blobs:
            await put(prepared.call.tenant, prepared.blobs)
        return appended

    Log.append = blobs_last


def postgres_commits_after_the_answer() -> None:
    open_transactions: list[Any] = []
    send = PostgresAppender._send

    async def commit() -> None:
        while open_transactions:
            await open_transactions.pop().execute("COMMIT")

    async def send_lazily(self: PostgresAppender, connection: Any, arguments: Sequence[Any]) -> Any:
        await commit()
        await connection.execute("BEGIN")
        record = await send(self, connection, arguments)
        open_transactions.append(connection)
        return record

    PostgresAppender._send = send_lazily
    for name in ("_run", "open", "close"):
        _first(Connections, name, commit)


def _first(owner: Any, name: str, what: Any) -> None:
    method = getattr(owner, name)

    async def after(self: Any, *arguments: Any, **options: Any) -> Any:
        await what()
        return await method(self, *arguments, **options)

    setattr(owner, name, after)


def postgres_writes_side_rows_in_another_transaction() -> None:
    places = ", ".join(f"${n}" for n in range(1, 11))
    send = PostgresAppender._send

    async def send_twice(self: PostgresAppender, connection: Any, arguments: Sequence[Any]) -> Any:
        side = arguments[27:37]
        record = await send(self, connection, [*arguments[:27], *[()] * 10, *arguments[37:]])
        if side[0] and record["positions"] is None:
            await connection.execute(f"SELECT headwater.apply_side({places})", 0, *side[1:])
        return record

    PostgresAppender._send = send_twice


def nobody_dies() -> None:
    Points.reach = lambda self, name: self.names.append(f"{self.act}: {name}")

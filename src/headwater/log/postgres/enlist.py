"""Appends inside the program's own transaction; what happens at COMMIT is in sql/functions/50_enlist.sql."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID, uuid4

from headwater.errors import LogUnavailable, NotSupported, OutcomeUnknown, StorageRefused
from headwater.log.port import DEFAULT_SHARD, Call
from headwater.log.postgres.append import Batch
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.parameters import sent, spelled
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble, is_lost, sqlstate

_PATIENCE: Final = 30.0


async def enlist(connections: Connections, connection: Any, calls: Sequence[Call]) -> None:
    """Stage calls on the program's own connection, in its open transaction.

    COMMIT then raises the driver's error when the log refuses; `as_trouble` says which of ours it is.
    """
    if not connection.is_in_transaction():
        raise NotSupported("To enlist an append, open a transaction on the connection first.")
    for call in calls:
        acting = connections.acting({call.tenant})
        try:
            arguments = sent(Batch([call]).arguments(DEFAULT_SHARD, [call.tenant], acting))
            await connection.execute(spelled(queries()["stage"], len(arguments)), *arguments)
        except (*DRIVER_ERRORS, ValueError) as error:
            raise as_trouble(error) from error


class PostgresTransaction:
    """A program's transaction on the log's database."""

    def __init__(self, connections: Connections, connection: Any) -> None:
        self._connections, self._connection = connections, connection

    @property
    def connection(self) -> Any:
        return self._connection

    async def execute(self, sql: str, *args: Any) -> None:
        await self._connection.execute(sql, *args)

    async def stage(self, call: Call) -> None:
        await enlist(self._connections, self._connection, [call])


@asynccontextmanager
async def transaction(connections: Connections) -> AsyncGenerator[PostgresTransaction]:
    """Open a transaction on a connection of its own; commit it at the end, and find out whether it did."""
    try:
        connection = await connections.open()
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error
    try:
        begun = connection.transaction()
        await _ours(begun.start())
        try:
            yield PostgresTransaction(connections, connection)
        except BaseException:
            with suppress(*DRIVER_ERRORS):
                await begun.rollback()
            raise
        await _commit(connections, connection, begun)
    finally:
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=2)


async def _commit(connections: Connections, connection: Any, begun: Any) -> None:
    token = uuid4()
    xact = await _ours(connection.fetchval(queries()["leave_token"], token))
    try:
        await begun.commit()
    except DRIVER_ERRORS as error:
        if xact is None or (sqlstate(error) and not is_lost(error)):
            raise as_trouble(error) from error
        await _resolve(connections, xact, token, error)


async def _resolve(connections: Connections, xact: str, token: UUID, error: BaseException) -> None:
    """The connection was lost in COMMIT: wait until the transaction has ended, and see whether it left its token.

    A server that crashed has ended every transaction. It may have forgotten the id, or given it to another
    transaction, which is then waited for: so the status only ever says that ours is not under way any more.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + _PATIENCE
    delay = 0.02
    while clock() < deadline:
        with suppress(LogUnavailable):
            if not await _is_under_way(connections, xact):
                committed = (await connections.fetch_any(queries()["has_token"], token))[0][0]
                if committed:
                    return
                break
        await asyncio.sleep(delay)
        delay = min(delay * 2, 1.0)
    else:
        raise OutcomeUnknown(
            "The connection was lost in COMMIT, and the server does not say what became of the transaction."
            " Look for its events by their ids before you do it again."
        ) from error
    raise LogUnavailable("The connection was lost in COMMIT; the transaction was rolled back.") from error


async def _is_under_way(connections: Connections, xact: str) -> bool:
    try:
        return bool((await connections.fetch_any(queries()["xact_status"], xact))[0][0] == "in progress")
    except StorageRefused:
        return False  # an id from before a crash, which the server has not given again


async def _ours(work: Any) -> Any:
    try:
        return await work
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error

"""Trouble with the server: appends fail loudly or succeed, never both, and the log comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from headwater.errors import LogUnavailable, StorageReadOnly, StorageRefused, WrongVersion
from headwater.events.clock import SystemClock
from headwater.events.codec import Codec
from headwater.events.envelope import RawEvent, Stream
from headwater.events.ids import TimeOrderedIds
from headwater.log.log import Log
from headwater.log.port import BatchRetry
from headwater.log.postgres.append import Appender
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.connections import Access
from headwater.log.prepare import Limits, Preparer
from headwater.log.verify import verify
from headwater.log.write import Write
from tests.servers.postgres import Database


def placed(n: int = 1) -> Write:
    return Write(Stream("order", str(n)), [RawEvent("placed", n)])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_under_load_loses_and_doubles_nothing(private_database: Database, mode: str) -> None:
    server = private_database.server
    async with Log(PostgresBackend(private_database.worker_url)) as log:
        acknowledged: list[int] = []
        stop = asyncio.Event()

        async def work(number: int) -> None:
            while not stop.is_set():
                [appended] = await log.append(placed(number))
                acknowledged.append(appended.position)

        workers = [asyncio.create_task(work(n)) for n in range(8)]
        for _ in range(2):
            goal = len(acknowledged) + 100
            while len(acknowledged) < goal:
                await asyncio.sleep(0.01)
            assert mode in ("fast", "immediate")
            await asyncio.to_thread(server.restart, "fast" if mode == "fast" else "immediate")
        goal = len(acknowledged) + 100
        while len(acknowledged) < goal:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*workers)
        positions = [recorded.position async for recorded in log.read()]
        assert sorted(acknowledged) == positions == list(range(1, len(positions) + 1))
        await verify(log)


async def test_a_read_only_database_says_so_and_takes_appends_again(
    log: Log, postgres_database: Database, admin: asyncpg.Connection
) -> None:
    name = postgres_database.name
    await admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with Log(PostgresBackend(postgres_database.worker_url)) as late:
        with pytest.raises(StorageReadOnly):
            await late.append(placed())
        await admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await late.append(placed())


async def test_a_permanent_error_is_its_authors_only(log: Log, admin: asyncpg.Connection) -> None:
    await admin.execute("ALTER TABLE headwater.events ADD CHECK (stream_id <> '13')")
    results = await asyncio.gather(*[log.append(placed(n)) for n in range(30)], return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [13]
    assert isinstance(results[13], StorageRefused)


async def test_a_server_that_is_away_is_not_a_refusal(private_database: Database) -> None:
    backend = PostgresBackend(private_database.worker_url)
    await backend.open()
    await asyncio.to_thread(private_database.server.stop)
    with pytest.raises(LogUnavailable):
        await backend.tail(0)
    clock = SystemClock()
    prepared = Preparer(Codec(), TimeOrderedIds(clock), clock, Limits()).prepare([placed()])
    with pytest.raises(BatchRetry):
        await backend.append(0, [prepared.call])
    await backend.close()


async def test_a_wrong_password_is_a_refusal(postgres_database: Database) -> None:
    with pytest.raises(StorageRefused):
        await PostgresBackend(postgres_database.worker_url.replace("@", "wrong@")).open()


async def test_a_session_that_is_ended_is_replaced(log: Log, admin: asyncpg.Connection) -> None:
    await log.append(placed())
    for _ in range(3):
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await log.append(placed())
        assert await log.version(Stream("order", "1"))
    assert await log.version(Stream("order", "1")) == 4


async def test_a_long_read_uses_no_more_connections_than_it_may(log: Log) -> None:
    await log.append(placed())
    found = await asyncio.gather(*[log.version(Stream("order", "1")) for _ in range(100)])
    assert found == [1] * 100


@pytest.mark.parametrize("pooled", [False, True])
async def test_an_attempt_that_was_given_up_cannot_write_what_its_retry_refused(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    """The first attempt is lost on its way and reaches the server last, when what it expects has come true."""
    send = Appender._send
    zombies: list[tuple[Appender, Sequence[Any]]] = []

    async def lose_first(self: Appender, connection: Any, arguments: Sequence[Any]) -> Any:
        if not zombies:
            zombies.append((self, arguments))
            raise ConnectionResetError("lost on its way")
        return await send(self, connection, arguments)

    backend = PostgresBackend(postgres_database.worker_url)
    stream = Stream("order", "1")
    async with Log(backend) as log:
        backend._connections.access = Access(crosses_tenants=True, pooled=pooled)
        await log.append(placed())
        monkeypatch.setattr(Appender, "_send", lose_first)
        with pytest.raises(WrongVersion):
            await log.append(Write(stream, [RawEvent("paid", 1)], expect=2))
        await log.append(placed())
        [(appender, arguments)] = zombies
        connection = await backend._connections.open()
        with pytest.raises(asyncpg.PostgresError, match="given up and made again"):
            await send(appender, connection, arguments)
        await connection.close()
        assert [recorded.type async for recorded in log.stream(stream)] == ["placed", "placed"]

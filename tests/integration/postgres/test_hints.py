"""Hints arrive across connections, survive their connection, and are never in the way."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log, LogOptions
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.write import Write
from tests.servers.postgres import Database

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


def placed() -> Write:
    return Write(Stream("order", "1"), [RawEvent("placed", 1)])


async def test_a_subscriber_hears_of_an_append_long_before_it_would_poll(
    log: Log, postgres_database: Database
) -> None:
    far = Log(PostgresBackend(postgres_database.worker_url), options=LogOptions(poll=30))
    async with far:
        arrived: asyncio.Queue[float] = asyncio.Queue()

        async def follow() -> None:
            async for _ in far.subscribe():
                arrived.put_nowait(time.perf_counter())

        follower = asyncio.create_task(follow())
        for _ in range(5):
            await log.append(placed())
            await asyncio.wait_for(arrived.get(), 10)
        follower.cancel()


async def test_the_listener_comes_back(
    log: Log, postgres_database: Database, admin: asyncpg.Connection
) -> None:
    far = PostgresBackend(postgres_database.worker_url)
    await far.open()
    await far.hints.wait(5)
    [first] = await admin.fetch(LISTENERS)
    await admin.execute("SELECT pg_terminate_backend($1)", first["pid"])
    async with asyncio.timeout(20):
        while [row["pid"] for row in await admin.fetch(LISTENERS)] in ([], [first["pid"]]):
            await asyncio.sleep(0.02)
    await far.hints.wait(1)
    waiting = asyncio.create_task(far.hints.wait(30))
    await log.append(placed())
    await asyncio.wait_for(waiting, 10)
    await far.close()


async def test_a_lost_hint_costs_a_poll_and_nothing_else(postgres_database: Database, log: Log) -> None:
    far = Log(PostgresBackend(postgres_database.worker_url), options=LogOptions(poll=0.05))
    async with far:
        far.backend.hints._hear = lambda *_: None  # type: ignore[attr-defined]
        await log.append(placed())
        async with asyncio.timeout(10):
            async for recorded in far.subscribe():
                if recorded.position == 2:
                    break
                await log.append(placed())

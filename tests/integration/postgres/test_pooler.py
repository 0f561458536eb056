"""Everything works through PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from headwater.errors import WrongVersion
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.migrate import migrate, pending
from headwater.log.side import OpenFence, SetDue
from headwater.log.verify import verify
from headwater.log.write import NO_STREAM, Write
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Database

ORDER = Stream("order", "1")


@pytest.mark.parametrize("role", ["worker_url", "server_url"])
async def test_appends_and_reads_go_through(
    pgbouncer: PgBouncer, postgres_database: Database, role: str
) -> None:
    async with Log(PostgresBackend(pgbouncer.url(getattr(postgres_database, role)))) as log:
        backend = log.backend
        assert isinstance(backend, PostgresBackend)
        assert backend._connections.access.pooled
        streams = [Stream("order", str(n)) for n in range(40)]
        await asyncio.gather(
            *[log.append(Write(s, [RawEvent("placed", "x" * 100_000)] * 2)) for s in streams]
        )
        with pytest.raises(WrongVersion):
            await log.append(Write(streams[0], [RawEvent("placed", 1)], expect=NO_STREAM))
        reads = [[r.version async for r in log.stream(s)] for s in streams]
        assert reads == [[1, 2]] * 40
        assert len([r async for r in log.read(tenant="default")]) == 80
        await log.append(
            Write(
                ORDER,
                [RawEvent("p", 1)],
                rows=[OpenFence("f"), SetDue("d", datetime(2020, 1, 1, tzinfo=UTC))],
            )
        )
        assert [c.epoch for c in await backend.claim("default", ["f"], "w")] == [1]
        assert len(await backend.due("default")) == 1
        async with log.transaction() as transaction:
            await transaction.append(Write(ORDER, [RawEvent("p", 2)]))
        assert await log.version(ORDER) == 4
    async with Log(PostgresBackend(postgres_database.worker_url)) as log:
        await verify(log)


async def test_migrations_go_through(pgbouncer: PgBouncer, postgres_database: Database) -> None:
    url = pgbouncer.url(postgres_database.owner_url)
    assert await migrate(url) == []
    assert await pending(url) == []


async def test_hints_take_the_direct_way(pgbouncer: PgBouncer, postgres_database: Database, log: Log) -> None:
    far = PostgresBackend(
        pgbouncer.url(postgres_database.worker_url), direct_url=postgres_database.worker_url
    )
    await far.open()
    await far.hints.wait(5)  # it listens now
    waiting = asyncio.create_task(far.hints.wait(30))
    await log.append(Write(ORDER, [RawEvent("placed", 1)]))
    await asyncio.wait_for(waiting, 10)
    await far.close()

"""Appends give what the reference gives, on a direct connection and in one message behind a pooler."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from headwater.errors import EventIdReused
from headwater.events.clock import ManualClock
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.port import Call, Outcome, Query
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.connections import Access
from headwater.log.side import CloseFence, OpenFence, Wake
from headwater.log.verify import verify
from headwater.log.write import Write
from tests.integration.sqlite.test_append import _calls, _plain, _rows
from tests.servers.postgres import Database

ORDER = Stream("order", "1")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pooled", [False, True])
async def test_batches_have_the_outcomes_and_the_chain_of_the_reference(
    postgres_database: Database, admin: asyncpg.Connection, seed: int, pooled: bool
) -> None:
    clock = ManualClock()
    await admin.execute(
        "CREATE OR REPLACE FUNCTION headwater.now_us() RETURNS bigint LANGUAGE sql VOLATILE"
        f" RETURN {clock.now_us()}::bigint"
    )
    reference, backend = MemoryBackend(clock=clock), PostgresBackend(postgres_database.worker_url)
    await backend.open()
    backend._connections.access = Access(crosses_tenants=True, pooled=pooled)
    for batch in _calls(random.Random(seed), clock, 60):
        expected = await reference.append(0, batch)
        found = await backend.append(0, batch)
        assert _plain(list(found)) == _plain(list(expected))
    theirs, ours = await reference.read(Query()), await backend.read(Query())
    assert _rows(list(ours.rows)) == _rows(list(theirs.rows))
    names = ["a", "b", "c", "d"]
    for tenant in ("one", "two"):
        assert await backend.keys(tenant) == await reference.keys(tenant)
        assert await backend.fences(tenant, names) == await reference.fences(tenant, names)
        assert await backend.due(tenant) == await reference.due(tenant)
    await backend.close()


@pytest.mark.parametrize("seed", range(10))
async def test_fences_of_a_call_change_in_their_order(log: Log, seed: int) -> None:
    chance = random.Random(seed)
    reference = Log(MemoryBackend())
    async with reference:
        for _ in range(15):
            rows = [
                chance.choice([OpenFence, CloseFence, Wake, Wake])("f") for _ in range(chance.randint(1, 5))
            ]
            for either in (log, reference):
                await either.append(Write(ORDER, [RawEvent("placed", 1)], rows=rows))
            assert await log.backend.fences("default", ["f"]) == await reference.backend.fences(
                "default", ["f"]
            ), rows


@pytest.mark.parametrize("pooled", [False, True])
async def test_what_looks_like_sql_is_data(log: Log, pooled: bool) -> None:
    backend = log.backend
    assert isinstance(backend, PostgresBackend)
    backend._connections.access = Access(crosses_tenants=True, pooled=pooled)
    nasty = "o'; DROP TABLE headwater.events; --\\' $$ \" E'\\x00 ${1} ü🂡"
    stream = Stream("order", nasty, nasty)
    event = NewEvent(event=RawEvent("placed", nasty), actor=nasty, run_id=nasty, correlation_id="\\")
    await log.append(Write(stream, [event]))
    [recorded] = [recorded async for recorded in log.stream(stream)]
    assert (recorded.stream, recorded.data, recorded.actor, recorded.run_id) == (stream, nasty, nasty, nasty)
    assert recorded.correlation_id == "\\"
    with pytest.raises(EventIdReused):
        await log.append(Write(stream, [NewEvent(event=RawEvent("placed", "other"), id=recorded.id)]))


async def test_the_chain_that_the_database_makes_verifies(log: Log) -> None:
    for n in range(1, 30):
        await log.append(*[Write(Stream("order", str(i)), [RawEvent("placed", i)] * n) for i in range(3)])
    await verify(log)


async def test_an_append_is_synchronous_where_the_default_is_not(
    postgres_database: Database, admin: asyncpg.Connection
) -> None:
    await admin.execute(f'ALTER DATABASE "{postgres_database.name}" SET synchronous_commit = off')
    seen = "SELECT count(*) FROM headwater.events WHERE traceparent = 'on'"
    await admin.execute(
        "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.traceparent := current_setting('synchronous_commit'); RETURN NEW; END $$;"
        "CREATE TRIGGER note BEFORE INSERT ON headwater.events FOR EACH ROW EXECUTE FUNCTION public.note()"
    )
    async with Log(PostgresBackend(postgres_database.worker_url)) as log:
        await log.append(Write(ORDER, [RawEvent("placed", 1)]))
    assert await admin.fetchval(seen) == 1


async def test_callers_and_the_server_do_not_take_turns(postgres_database: Database) -> None:
    """While the server writes the calls of one half of the callers, the other half hears of theirs and goes on."""
    backend = PostgresBackend(postgres_database.worker_url)
    append, sizes = backend.append, list[int]()

    async def counted(shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        sizes.append(len(calls))
        return await append(shard, calls)

    backend.append = counted  # type: ignore[method-assign]
    async with Log(backend) as log:

        async def caller(name: str) -> None:
            for version in range(5):
                await log.append(Write(Stream("order", name), [RawEvent("placed", 1)], expect=version))

        await asyncio.gather(*[caller(str(n)) for n in range(40)])
    assert sizes[0] == 40
    assert max(sizes[1:]) < 40
    assert sum(sizes) == 200

"""Appends inside the program's own transaction: at COMMIT or not at all, and nobody waits for a slow client."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from headwater.errors import KeyTaken, LogUnavailable, NotSupported, WrongVersion
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.trouble import as_trouble
from headwater.log.side import TakeKey
from headwater.log.write import NO_STREAM, Write
from headwater.testing.proxy import Proxy
from tests.servers.postgres import Database

ORDER = Stream("order", "1")


def placed(expect: int = -1, stream: Stream = ORDER, n: int = 1) -> Write:
    return Write(stream, [RawEvent("placed", i) for i in range(n)], expect=expect)


@pytest.fixture(autouse=True)
async def nothing_is_left_behind(admin: asyncpg.Connection) -> object:
    yield
    assert await admin.fetchval("SELECT count(*) FROM headwater.staged") == 0


@pytest.fixture(autouse=True)
async def table(admin: asyncpg.Connection) -> None:
    await admin.execute("CREATE TABLE public.mine (n int); GRANT ALL ON public.mine TO PUBLIC")


async def test_the_programs_rows_and_the_events_commit_together(log: Log, admin: asyncpg.Connection) -> None:
    async with log.transaction() as transaction:
        await transaction.execute("INSERT INTO public.mine VALUES ($1)", 1)
        await transaction.append(placed(NO_STREAM), placed(1, n=2))
        await transaction.append(placed(3))
        assert await log.version(ORDER) == 0
    assert await log.version(ORDER) == 4
    assert await admin.fetchval("SELECT count(*) FROM public.mine") == 1


async def test_a_conflict_rolls_everything_back_and_says_what_is_there(
    log: Log, admin: asyncpg.Connection
) -> None:
    await log.append(placed())
    with pytest.raises(WrongVersion) as caught:  # noqa: PT012 - it comes at the end
        async with log.transaction() as transaction:
            await transaction.execute("INSERT INTO public.mine VALUES (1)")
            await transaction.append(placed(NO_STREAM))
    assert (caught.value.stream, caught.value.expected, caught.value.actual) == (ORDER, 0, 1)
    assert await admin.fetchval("SELECT count(*) FROM public.mine") == 0
    await log.append(Write(ORDER, [RawEvent("paid", 1)], rows=[TakeKey("k", "me")]))
    with pytest.raises(KeyTaken):
        async with log.transaction() as transaction:
            await transaction.append(Write(ORDER, [RawEvent("paid", 1)], rows=[TakeKey("k", "you")]))
    assert await log.version(ORDER) == 2


async def test_an_error_of_the_program_leaves_nothing(log: Log) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it comes at the end
        async with log.transaction() as transaction:
            await transaction.append(placed())
            raise ZeroDivisionError
    assert await log.version(ORDER) == 0


async def test_others_append_while_a_client_stalls_before_commit(
    log: Log, program: asyncpg.Connection
) -> None:
    transaction = program.transaction()
    await transaction.start()
    await log.enlist(program, placed(stream=Stream("order", "slow")))
    for _ in range(20):
        await asyncio.wait_for(log.append(placed()), 5)
    await transaction.commit()
    [recorded] = [r async for r in log.stream(Stream("order", "slow"))]
    assert recorded.position == 21


async def test_a_rolled_back_savepoint_takes_its_appends_along(log: Log, program: asyncpg.Connection) -> None:
    async with program.transaction():
        await log.enlist(program, placed())
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it comes at the end
            async with program.transaction():
                await log.enlist(program, placed(n=5))
                raise ZeroDivisionError
        async with program.transaction():
            await log.enlist(program, placed(1))
    assert await log.version(ORDER) == 2


async def test_staged_calls_are_not_visible_to_others(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    async with program.transaction():
        await log.enlist(program, placed())
        assert await program.fetchval("SELECT count(*) FROM headwater.staged") == 1
        assert await admin.fetchval("SELECT count(*) FROM headwater.staged") == 0
    assert await log.version(ORDER) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_immediate_constraints_are_refused(log: Log, program: asyncpg.Connection, when: str) -> None:
    with pytest.raises((asyncpg.PostgresError, NotSupported), match="happen in COMMIT"):  # noqa: PT012 - it comes at the end
        async with program.transaction():
            if when == "before":
                await program.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await log.enlist(program, placed())
            await program.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert await log.version(ORDER) == 0


async def test_prepared_transactions_are_refused(log: Log, program: asyncpg.Connection) -> None:
    await program.execute("BEGIN")
    await log.enlist(program, placed())
    with pytest.raises(asyncpg.PostgresError, match="happen in COMMIT") as caught:
        await program.execute("PREPARE TRANSACTION 'held'")
    assert isinstance(as_trouble(caught.value), NotSupported)
    await asyncio.wait_for(log.append(placed()), 5)


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_other_isolation_levels_are_refused(
    log: Log, program: asyncpg.Connection, isolation: str
) -> None:
    with pytest.raises(NotSupported, match="READ COMMITTED"):
        async with program.transaction(isolation=isolation):  # type: ignore[arg-type]
            await log.enlist(program, placed())


async def test_outside_a_transaction_there_is_nothing_to_enlist_in(
    log: Log, program: asyncpg.Connection
) -> None:
    with pytest.raises(NotSupported, match="open a transaction"):
        await log.enlist(program, placed())


async def test_a_commit_whose_answer_is_lost_is_found_out(postgres_database: Database, log: Log) -> None:
    """Cut everywhere around COMMIT: whatever the program is told is true."""
    parts = urlsplit(postgres_database.worker_url)
    outcomes: set[bool] = set()
    async with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        login = parts.netloc.rpartition("@")[0]
        url = urlunsplit(parts._replace(netloc=f"{login}@{proxy.host}:{proxy.port}"))
        async with Log(PostgresBackend(url)) as far:
            for direction in ("sent", "received"):
                for after in range(0, 400, 9):
                    stream = Stream("order", f"{direction}-{after}")
                    try:
                        async with far.transaction() as transaction:
                            await transaction.append(placed(stream=stream))
                            proxy.cut(after=after, direction=direction)
                    except LogUnavailable:
                        committed = False
                    else:
                        committed = True
                    proxy.disarm()
                    assert await log.version(stream) == committed, (direction, after)
                    outcomes.add(committed)
    assert outcomes == {True, False}

"""The server's process that serves an append dies at every stage of it; the client is asked to notice nothing.

Where a backend is held: an advisory lock of the test's, which a trigger of the test's own (in its own database) waits
for. So each death hits a transaction that is exactly that far, and no test guesses a time.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from headwater.errors import LogUnavailable
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.side import SetDue, TakeKey
from headwater.log.write import NO_STREAM, Write
from headwater.testing.crash_points.scene import LATER
from headwater.testing.invariants import Witness, check
from headwater.testing.proxy import Proxy
from tests.servers.fixtures import migrate
from tests.servers.postgres import WORKER, Database, PostgresServer, Template

GATE = 4711
SHARD_LOCK = (1214731852, 0)
ORDER = Stream("order", "1")

Stage = Literal["before the lock", "after the events", "after the side rows", "in COMMIT", "after COMMIT"]
STAGES: tuple[Stage, ...] = get_args(Stage)
DEATHS = ("terminated", "killed")

HOLD = f"""
CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END $$;
"""
IN_COMMIT = (
    "CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON headwater.events DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION public.hold()"
)
TRIGGERS: dict[Stage, str] = {
    "after the events": "CREATE TRIGGER hold AFTER INSERT ON headwater.events EXECUTE FUNCTION public.hold()",
    "after the side rows": "CREATE TRIGGER hold AFTER INSERT ON headwater.due EXECUTE FUNCTION public.hold()",
    "in COMMIT": IN_COMMIT,
    "after COMMIT": IN_COMMIT,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Killing one backend restarts all of a server, so this one is nobody else's."""
    server = PostgresServer.launch()
    yield server
    server.close()


@pytest.fixture(scope="module")
def template(server: PostgresServer) -> Template:
    return Template.create(server, migrate)


@pytest.fixture
def database(server: PostgresServer, template: Template) -> Database:
    database = Database.create(server, template)
    owner = database.name
    server.fetch(HOLD, database=owner)
    server.fetch("CREATE TABLE public.notes (text TEXT)", database=owner)
    server.fetch(f'GRANT SELECT, INSERT ON public.notes TO "{WORKER}"', database=owner)
    return database


def write(key: str) -> Write:
    """A write with the same ids whenever it is made."""
    events = [
        NewEvent(event=RawEvent("told", {"n": n}), id=derived_id(ORDER, key, n), occurred_at=LATER)
        for n in range(3)
    ]
    return Write(ORDER, events, expect=NO_STREAM, rows=[TakeKey("k", key), SetDue("d", LATER)])


async def append(log: Log, witness: Witness) -> None:
    await witness.append(log, write("only"))


async def enlist(log: Log, witness: Witness) -> None:
    """A program that repeats what was rolled back: the log says which it was."""
    for _ in range(50):
        try:
            async with log.transaction() as transaction:
                await transaction.execute("INSERT INTO public.notes VALUES ($1)", "only")
                await transaction.append(write("only"))
            break
        except LogUnavailable:
            await asyncio.sleep(0.05)
    found = await log.find(
        ORDER.tenant, *[event.id for event in write("only").events if isinstance(event, NewEvent)]
    )
    assert len(found) == 3


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("act", [append, enlist], ids=["append", "enlisted"])
async def test_a_write_whose_server_process_dies_is_written_once(
    server: PostgresServer,
    database: Database,
    act: Any,
    stage: Stage,
    death: str,
) -> None:
    witness = Witness()
    async with Proxy(server.host, server.port) as proxy:
        url = through(proxy, database.worker_url)
        async with Log(PostgresBackend(url)) as log:
            assert await log.version(ORDER) == 0  # connected, and with nothing to say
            async with held(database, stage) as gate:
                writing = asyncio.create_task(act(log, witness))
                victim = await gate.somebody_waits(writing)
                if stage == "after COMMIT":
                    proxy.stall("received")
                    await gate.open_and_see(3)
                await kill(server, victim, death)
            proxy.drop()
            proxy.resume("received")
            async with asyncio.timeout(60):
                await writing
    async with Log(PostgresBackend(database.worker_url)) as log:
        await check(log, witness.acknowledged)
        assert await log.version(ORDER) == 3
        assert [row[1:] for row in await log.backend.keys("default")] == [("k", "only")]
        assert len(await log.backend.due("default", by_now=False)) == 1
    notes = await asyncio.to_thread(server.fetch, "SELECT text FROM public.notes", database=database.name)
    assert len(notes) == (1 if act is enlist else 0)


async def test_a_transaction_that_is_lost_with_its_id_is_not_taken_for_the_next_one_of_that_id(
    server: PostgresServer, database: Database
) -> None:
    async with Proxy(server.host, server.port) as proxy, AsyncExitStack() as stack:
        log = await stack.enter_async_context(Log(PostgresBackend(through(proxy, database.worker_url))))
        async with held(database, "in COMMIT") as gate:
            writing = asyncio.create_task(enlist(log, Witness()))
            victim = await gate.somebody_waits(writing)
            proxy.refuse = True
            await kill(server, victim, "killed")
        await others_commit(database, 50)
        proxy.refuse = False
        async with asyncio.timeout(60):
            await writing
        assert await log.version(ORDER) == 3


async def others_commit(database: Database, count: int) -> None:
    """Wait until the server is back, and use up transaction ids."""
    async with asyncio.timeout(30):
        while True:
            try:
                connection = await asyncpg.connect(database.admin_url)
                break
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
    for _ in range(count):
        await connection.execute("SELECT pg_current_xact_id()")
    await connection.close()


def through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{proxy.host}:{proxy.port}"))


class Gate:
    """Where the server's process waits."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def somebody_waits(self, writing: asyncio.Task[None]) -> int:
        """The process id of who waits."""
        sql = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with asyncio.timeout(30):
            while not (pid := await self._connection.fetchval(sql)):
                assert not writing.done(), writing
                await asyncio.sleep(0.005)
        return int(pid)

    async def open_and_see(self, events: int) -> None:
        """Let everybody pass, and wait until others see the events: the transaction has committed."""
        await self._connection.execute("ROLLBACK")
        async with asyncio.timeout(30):
            while await self._connection.fetchval("SELECT count(*) FROM headwater.events") < events:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def held(database: Database, stage: Stage) -> AsyncIterator[Gate]:
    """Have the next write stop at this stage."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        if stage in TRIGGERS:
            await connection.execute(TRIGGERS[stage])
        await connection.execute("BEGIN")
        if stage == "before the lock":
            await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *SHARD_LOCK)
        else:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", GATE)
        yield Gate(connection)
    finally:
        connection.terminate()


async def kill(server: PostgresServer, pid: int, death: str) -> None:
    if death == "killed":
        os.kill(pid, signal.SIGKILL)  # the server restarts all of itself, and recovers
    else:
        await asyncio.to_thread(server.fetch, "SELECT pg_terminate_backend($1)", pid)

"""Who owns what: as the reference says, and what only a server has: claims that are under way at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from headwater.errors import FenceLost, HeadwaterError, LogUnavailable, NotSupported, RowGone
from headwater.events.clock import ManualClock
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.ownership import EntryRow, WorkerRow
from headwater.log.port import Backend, Release
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.connections import Access
from headwater.log.postgres.statements import queries
from headwater.log.side import (
    ClearReady,
    CloseFence,
    Fence,
    OpenFence,
    PutEntry,
    PutReady,
    SideRow,
    Trust,
    Wake,
    WithdrawReady,
)
from headwater.log.write import Write
from headwater.testing.proxy import Proxy
from tests.servers.postgres import Database

T = TypeVar("T")
LEASE = 10_000_000
RUN = Stream("run", "1")


def worker(id: str, lease_us: int = LEASE) -> WorkerRow:
    return WorkerRow(id, "here", lease_us, b"")


def write(*rows: SideRow, tenant: str = "default") -> Write:
    return Write(Stream("run", "1", tenant), [RawEvent("moved", 1)], rows=rows)


@asynccontextmanager
async def under_way(
    connection: asyncpg.Connection, name: str, *arguments: object
) -> AsyncIterator[list[Any]]:
    """A query that has run in a transaction which has not committed yet."""
    async with connection.transaction():
        yield await connection.fetch(queries()[name], *arguments)


async def waits(admin: asyncpg.Connection, work: Awaitable[T]) -> asyncio.Task[T]:
    """Start something, and see it wait for somebody's lock."""
    task = asyncio.ensure_future(work)
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database())"
    )
    async with asyncio.timeout(10):
        while not await admin.fetchval(waiting):
            assert not task.done()
            await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize("seed", range(6))
async def test_random_claims_agree_with_the_reference(
    postgres_database: Database, admin: asyncpg.Connection, seed: int
) -> None:
    chance, clock = random.Random(seed), ManualClock()
    await admin.execute(
        f"CREATE TABLE public.clock AS SELECT {clock.now_us()}::bigint AS us; GRANT SELECT ON public.clock TO PUBLIC;"
        "CREATE OR REPLACE FUNCTION headwater.now_us() RETURNS bigint LANGUAGE sql VOLATILE"
        " BEGIN ATOMIC SELECT us FROM public.clock; END"
    )
    backend = PostgresBackend(postgres_database.worker_url)
    async with Log(backend) as ours, Log(MemoryBackend(clock=clock)) as theirs:
        backend._connections.access = Access(crosses_tenants=True, pooled=seed % 2 > 0)
        for _ in range(120):
            if chance.random() < 0.4:
                clock.move(timedelta(seconds=chance.choice([0.001, 0.5, 4.0])))
                await admin.execute("UPDATE public.clock SET us = $1", clock.now_us())
            step, arguments, named = _random_step(chance)
            found = [await _outcome(log, step, arguments, named) for log in (theirs, ours)]
            assert found[0] == found[1], (step, arguments, named)
            assert await _state(ours.backend) == await _state(theirs.backend), (step, arguments, named)


async def _outcome(log: Log, step: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> object:
    try:
        if step == "append":
            return [(a.position, a.version) for a in await log.append(*arguments)]
        found = await getattr(log.backend, step)(*arguments, **named)
    except HeadwaterError as error:
        return type(error), str(error)
    return sorted(found) if step in {"take_ready", "held_ready"} else found


def _random_step(chance: random.Random) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    who, key, queue = chance.choice("vw"), chance.choice("abcdefgh"), chance.choice("qr")
    label, tenant = chance.choice(["", "l", "m"]), chance.choice(["default", "other"])
    claim = chance.choice([None, 1, 2])
    number = chance.randint(1, 3)
    rows: list[tuple[SideRow, ...]] = [
        (OpenFence(key, label, chance.choice([None, who])), PutEntry("runs", key, "l", "running", b"1")),
        (OpenFence(key, "m"), Wake(key), Wake(key)),
        (
            OpenFence(key),
            CloseFence(key),
            Wake(key),
            OpenFence(key, label, who),
            Wake(key, needed=number == 1),
        ),
        (Fence(key, number), PutEntry("runs", key, label or "n", chance.choice(["done", "failed"]))),
        (Wake(key),),
        (Wake(key, needed=True), Wake(chance.choice("abcdefgh"))),
        (Trust(key), CloseFence(chance.choice("abcd"))),
        (PutReady(queue, key, b"x", priority=number),),
        (PutReady(queue, key, claim=claim), WithdrawReady(chance.choice("qr"), "z")),
        (ClearReady(queue, key, chance.random() < 0.3, claim), PutReady(queue, "z")),
        (WithdrawReady(queue, key), PutEntry("hooks", key, "l", "open")),
    ]
    page = {"label": label or None, "statuses": chance.choice([(), ("done",), ("done", "running")])}
    alone = Write(Stream("run", "1", tenant), [], rows=(PutEntry("runs", key, "l", "held"), CloseFence(key)))
    steps: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        *[("append", (write(*chance.choice(rows), tenant=tenant),), {})] * 9,
        ("append", (alone,), {}),
        ("enrol", (worker(who),), {}),
        ("enrol", (worker(who),), {}),
        ("beat", (who, b"on"), {}),
        ("sweep", (), {}),
        ("sweep", (chance.choice([(), ("w",)]), chance.choice([(), ("w", "v")])), {}),
        ("take", (who, ["l", "m", "", "l"], number), {"suspects": chance.random() < 0.4}),
        ("take", (who, ["l", "m", ""], 100), {"suspects": True}),
        ("take", (who, [label], number), {}),
        ("woken", (who, number), {}),
        ("take_ready", (who, {"q": number, "r": 2}), {}),
        ("take_ready", (who, {"q": number, "r": 2}), {}),
        ("claim", (tenant, [key], who), {}),
        ("release", ([Release(tenant, k, number, number) for k in sorted({key, "a", "b"})],), {}),
        ("held_ready", (who,), {}),
        ("entries", (chance.choice([None, tenant]), "runs"), {**page, "limit": number}),
        ("entries", (tenant, "runs"), {"keys": chance.choice([(key,), ("a", "b", "c")]), **page}),
    ]
    return chance.choice(steps)


async def _state(backend: Backend) -> object:
    return [
        (
            await backend.fences(tenant, [*"abcdefgh"]),
            await backend.entries(tenant, "runs"),
            await backend.entries(tenant, "runs", statuses=["done", "held"], limit=3),
            [await backend.ready(tenant, queue) for queue in "qr"],
            await backend.workers(),
        )
        for tenant in ("default", "other")
    ]


async def test_pages_of_a_list_follow_each_other(log: Log) -> None:
    for tenant in ("default", "other"):
        for i in range(7):
            status = ["running", "done", "failed"][i % 3]
            await log.append(
                write(
                    PutEntry("runs", f"{i}", "l", status), PutEntry("hooks", "h", "l", "open"), tenant=tenant
                )
            )
        for statuses in ((), ("done", "failed")):
            found: list[EntryRow] = []
            place: tuple[int, str] | None = None
            while page := await log.backend.entries(tenant, "runs", statuses=statuses, before=place, limit=2):
                found += page
                place = page[-1].at, page[-1].key
            wanted = [str(i) for i in reversed(range(7)) if not statuses or i % 3]
            assert [entry.key for entry in found] == wanted


async def test_two_workers_take_different_fences_at_once(log: Log, program: asyncpg.Connection) -> None:
    for id in "vw":
        await log.backend.enrol(worker(id))
    await log.append(*[write(OpenFence(f"{i:02}", "lm"[i % 2]), Wake(f"{i:02}")) for i in range(10)])
    async with under_way(program, "take", "v", ["l", "m"], 4, False, []) as mine:
        theirs = await log.backend.take("w", ["l", "m"], 4)
        rest = await log.backend.take("w", ["l", "m"], 4)
    assert [row["key"] for row in mine] == ["00", "01", "02", "03"]
    assert [row.key for row in theirs] == ["04", "05", "06", "07"]
    assert [row.key for row in rest] == ["08", "09"]
    assert [row.holder for row in await log.backend.fences("default", ["00", "09"])] == ["v", "w"]


async def test_two_workers_take_different_ready_rows_at_once(log: Log, program: asyncpg.Connection) -> None:
    for id in "vw":
        await log.backend.enrol(worker(id))
    await log.append(write(*[PutReady("q", str(i), priority=i // 4) for i in range(10)]))
    async with under_way(program, "take_ready", "v", ["q", "none"], [3, 3]) as mine:
        theirs = await log.backend.take_ready("w", {"q": 4})
    assert [row["key"] for row in mine] == ["0", "1", "2"]
    assert [row.key for row in theirs] == ["3", "4", "5", "6"]


async def test_workers_that_take_at_once_never_take_the_same(log: Log) -> None:
    keys = [f"{i:03}" for i in range(300)]
    await log.append(
        write(*[row for key in keys for row in (OpenFence(key, "l"), Wake(key), PutReady("q", key))])
    )

    async def take_all(id: str) -> list[str]:
        await log.backend.enrol(worker(id))
        taken: list[str] = []
        while fences := await log.backend.take(id, ["l"], 3):
            taken += [fence.key for fence in fences]
        while rows := await log.backend.take_ready(id, {"q": 3}):
            taken += [row.key for row in rows]
        return taken

    taken = await asyncio.gather(*[take_all(id) for id in "stuvw"])
    assert sorted(key for some in taken for key in some) == sorted(keys * 2)


async def test_a_sweep_waits_for_a_claim_that_is_under_way_and_frees_it(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    await log.backend.enrol(worker("w"))
    await log.append(write(OpenFence("f", "l"), Wake("f"), PutReady("q", "r")))
    async with under_way(program, "take", "w", ["l"], 1, False, []) as [taken]:
        await program.fetch(queries()["take_ready"], "w", ["q"], [1])
        sweep = await waits(admin, log.backend.sweep(dead=["w"]))
    assert await sweep == (["w"], 1, 1)
    [fence] = await log.backend.fences("default", ["f"])
    assert (fence.holder, fence.epoch, fence.wakes > fence.seen, fence.trial) == (
        None,
        taken["epoch"] + 1,
        True,
        1,
    )


async def test_who_is_being_swept_away_takes_nothing(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    await log.backend.enrol(worker("w"))
    await log.append(write(OpenFence("f", "l"), Wake("f"), PutReady("q", "r")))
    async with under_way(program, "sweep", ["w"], []):
        take = await waits(admin, log.backend.take("w", ["l"], 1))
        take_ready = asyncio.ensure_future(log.backend.take_ready("w", {"q": 1}))
    assert (await take, await take_ready) == ([], [])


async def test_a_fence_opened_for_a_worker_that_is_swept_away_is_freed_by_a_later_sweep(
    log: Log, program: asyncpg.Connection
) -> None:
    await log.backend.enrol(worker("w"))
    async with program.transaction():
        await program.execute(
            "INSERT INTO headwater.fences (tenant, key, epoch, holder) VALUES ('default', 'f', 1, 'w')"
        )
        assert await log.backend.sweep(left=["w"]) == (["w"], 0, 0)
    assert await log.backend.sweep() == ([], 1, 0)
    assert [fence.holder for fence in await log.backend.fences("default", ["f"])] == [None]


async def test_a_beat_that_a_sweep_waited_for_counts(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    await log.backend.enrol(worker("w", lease_us=1))
    async with program.transaction():
        await program.execute(
            "UPDATE headwater.workers SET lease_us = 60000000, beat_at = headwater.now_us()"
        )
        sweep = await waits(admin, log.backend.sweep())
    assert (await sweep).workers == []


@pytest.mark.parametrize("row", [ClearReady("q", "r", claim=1), PutReady("q", "r", b"again", claim=1)])
async def test_an_append_under_an_old_claim_waits_for_the_new_one_and_is_refused(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection, row: SideRow
) -> None:
    for id in "vw":
        await log.backend.enrol(worker(id))
    await log.append(write(PutReady("q", "r")))
    assert [taken.claim for taken in await log.backend.take_ready("v", {"q": 1})] == [1]
    await log.backend.sweep(dead=["v"])
    async with under_way(program, "take_ready", "w", ["q"], [1]) as [taken]:
        stale = await waits(admin, log.append(write(row)))
    with pytest.raises(RowGone):
        await stale
    [there] = await log.backend.ready("default", "q")
    assert (there.holder, there.claim, there.data, taken["claim"]) == ("w", 2, b"", 2)


async def test_an_append_under_an_old_epoch_waits_for_the_new_one_and_is_refused(
    log: Log, program: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    await log.backend.enrol(worker("w"))
    await log.append(write(OpenFence("f", "l"), Wake("f")))
    async with under_way(program, "take", "w", ["l"], 1, False, []):
        stale = await waits(admin, log.append(write(Fence("f", 0))))
    with pytest.raises(FenceLost, match="at epoch 1"):
        await stale


async def test_claims_sweeps_and_appends_in_any_order_never_lock_each_other_out(
    postgres_database: Database, log: Log
) -> None:
    keys = [f"k{i}" for i in range(12)]
    rows = [row for key in keys for row in (OpenFence(key, "l"), Wake(key), PutReady("q", key))]
    await log.append(write(*rows))

    async def live(id: str, backend: Backend) -> None:
        chance = random.Random(id)
        for _ in range(25):
            await backend.enrol(worker(id))
            await backend.take(id, ["l"], 5, suspects=chance.random() < 0.5)
            await backend.take_ready(id, {"q": 5})
            await backend.woken(id)
            await backend.sweep(dead=[chance.choice("uvw")])

    async def write_on(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            some = chance.sample(keys, 6)
            await log.append(write(*[Wake(key) for key in some], *[PutReady("q", key) for key in some]))

    async with asyncio.TaskGroup() as group:
        for id in "uvw":
            group.create_task(live(id, log.backend))
        for seed in range(3):
            group.create_task(write_on(seed))
    await log.backend.sweep(left=["u", "v", "w"])
    assert {fence.holder for fence in await log.backend.fences("default", keys)} == {None}
    assert {row.holder for row in await log.backend.ready("default", "q")} == {None}


async def test_a_claim_whose_answer_is_lost_is_not_made_again(postgres_database: Database, log: Log) -> None:
    await log.backend.enrol(worker("w"))
    await log.append(write(OpenFence("f", "l"), Wake("f")))
    parts = urlsplit(postgres_database.worker_url)
    async with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        login = parts.netloc.rpartition("@")[0]
        url = urlunsplit(parts._replace(netloc=f"{login}@{proxy.host}:{proxy.port}"))
        async with Log(PostgresBackend(url)) as far:
            assert await far.backend.take("w", ["l"], 0) == []
            proxy.cut(after=1, direction="received")
            with pytest.raises(LogUnavailable):
                await far.backend.take("w", ["l"], 1)
            proxy.disarm()
            assert await far.backend.take("w", ["l"], 1) == []
    assert [fence.epoch for fence in await log.backend.fences("default", ["f"])] == [1]


async def test_the_servers_role_sees_no_workers_and_takes_nothing(
    log: Log, postgres_database: Database
) -> None:
    await log.backend.enrol(worker("w"))
    for tenant in ("ours", "theirs"):
        await log.append(
            write(OpenFence("f", "l"), Wake("f"), PutEntry("runs", "1", "l", "open"), tenant=tenant)
        )
    async with Log(PostgresBackend(postgres_database.server_url)) as served:
        backend = served.backend
        for attempt in (
            backend.take("w", ["l"], 1),
            backend.take_ready("w", {"q": 1}),
            backend.woken("w"),
            backend.sweep(),
            backend.enrol(worker("v")),
            backend.workers(),
            backend.beat("w", b""),
            backend.entries(None, "runs"),
        ):
            with pytest.raises(NotSupported, match="may not cross tenants"):
                await attempt
        assert [entry.tenant for entry in await backend.entries("ours", "runs")] == ["ours"]
        assert [entry.tenant for entry in await backend.entries("ours", "runs", keys=["1"])] == ["ours"]
        await served.append(write(PutEntry("runs", "1", "l", "done"), Trust("f"), tenant="ours"))
        both = [(Stream("run", "1", tenant), 2) for tenant in ("theirs", "ours")]
        assert [len(rows) for rows in await backend.read_streams(both, 5)] == [0, 1]
    connection = await asyncpg.connect(postgres_database.server_url)
    for call in (
        "take('w', ARRAY['l'], 1, false, '{}')",
        "take_ready('w', ARRAY['q'], ARRAY[1])",
        "sweep('{w}', '{}')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # noqa: PT012 - it comes at the end
            async with connection.transaction():
                await connection.execute("SELECT headwater.act_for(ARRAY['ours'])")
                await connection.execute(f"SELECT * FROM headwater.{call}")
    await connection.close()
    assert [f.holder for f in await log.backend.fences("theirs", ["f"])] == [None]


async def test_several_streams_are_read_at_once_each_from_its_version(log: Log) -> None:
    for i in range(3):
        for tenant in ("default", "other"):
            await log.append(Write(Stream("run", f"{i}", tenant), [RawEvent("moved", n) for n in range(4)]))
    starts = [
        (Stream("run", "2"), 3),
        (Stream("run", "0", "other"), 1),
        (Stream("run", "none"), 1),
        (Stream("run", "2"), 2),
    ]
    found = await log.backend.read_streams(starts, 2)
    assert [[row[4] for row in rows] for rows in found] == [[3, 4], [1, 2], [], [2, 3]]
    assert [tuple(row) for row in found[0]] == [
        tuple(r) for r in (await log.backend.read_streams(starts[:1], 2))[0]
    ]
    assert found[1][0][1:4] == ("other", "run", "0")


async def test_an_enlisted_append_opens_a_fence_and_puts_an_entry(log: Log) -> None:
    async with log.transaction() as transaction:
        await transaction.append(write(OpenFence("f", "l", "w"), PutEntry("runs", "1", "l", "open")))
    [fence] = await log.backend.fences("default", ["f"])
    assert (fence.epoch, fence.holder, fence.label) == (1, "w", "l")
    [entry] = await log.backend.entries("default", "runs")
    [recorded] = [recorded async for recorded in log.stream(RUN)]
    assert entry.at == recorded.recorded_at.timestamp() * 1_000_000

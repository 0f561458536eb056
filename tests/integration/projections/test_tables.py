"""Tables of the user's own: what they show is what the states say, at every moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from headwater.errors import CheckpointMoved, DeclarationRefused, NotSupported, StorageRefused
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.projections.folding import Folding
from headwater.projections.open import store_for, table_for
from headwater.projections.projection import Projection
from headwater.projections.rebuild import live_of, rebuild, verify
from headwater.projections.redis import RedisStates
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, GO_ON, Key, Store
from headwater.projections.tables import Table
from headwater.testing.contract import Site
from tests.contract.sites import PostgresSite, SqliteSite
from tests.every_backend import site_of
from tests.integration.projections.shop import BY_CUSTOMER, CHOOSY, Spent, pay
from tests.projecting import projecting


def rows(key: Key, state: Spent) -> Sequence[tuple[str, int]]:
    """One row a cent-piece, so that a key has several: none while nothing was spent."""
    return [(f"{key.key}#{n}", state.cents) for n in range(min(state.events, 3))] if state.cents else []


SPENDING = Table("spending", {"item": "text NOT NULL", "cents": "bigint NOT NULL CHECK (cents < 1000)"}, rows)
SHOWN = replace(BY_CUSTOMER, table=SPENDING)
Look = Callable[[str], "Any"]


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from site_of(request, tmp_path)


@pytest.fixture
async def log(site: Site) -> AsyncIterator[Log]:
    async with Log(site.backend()) as log:
        await made(site, log, SHOWN)
        yield log


async def made(site: Site, log: Log, projection: Projection[Any]) -> None:
    """Tables are made by the owner."""
    assert projection.table is not None
    there = table_for(log, projection.name, projection.table)
    if isinstance(site, PostgresSite):
        connection = await asyncpg.connect(site.database.owner_url)
        await connection.execute(there.made)
        await connection.close()
    else:
        await there.make()


async def shown(
    site: Site, sql: str = "SELECT tenant, key, item, cents FROM spending ORDER BY item"
) -> list[Any]:
    """What another program sees."""
    if isinstance(site, PostgresSite):
        connection = await asyncpg.connect(site.database.owner_url)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()
    assert isinstance(site, SqliteSite)
    return apsw.Connection(str(site.path)).execute(sql).fetchall()


async def expected(log: Log, store: Store) -> list[Any]:
    """What the states say."""
    live = await live_of(store, SHOWN)
    found = await store.page(SHOWN.name, live.generation)
    return sorted(
        (row.tenant, row.key, *line)
        for row in found
        if row.state is not None
        for line in rows(Key(row.tenant, row.key), SHOWN.decode(row.state))
    )


async def fold(log: Log, projection: Projection[Spent] = SHOWN, *, batch: int = 2) -> None:
    store = store_for(log)
    folding = Folding(log, projection, store, "one", lease=30, batch=batch)
    assert await folding.take((await live_of(store, projection)).generation) is not None
    await folding.again()
    while await folding.step():
        pass
    await folding.release()


async def test_rows_follow_the_states(site: Site, log: Log) -> None:
    await pay(log, "a", 1, 2, customer="ann")
    await pay(log, "b", 5, customer="bob", tenant="theirs")
    await fold(log)
    assert await shown(site) == [
        ("default", "ann", "ann#0", 3),
        ("default", "ann", "ann#1", 3),
        ("theirs", "bob", "bob#0", 5),
    ]
    await pay(log, "a", -3, customer="ann")
    await fold(log)
    assert await shown(site) == [("theirs", "bob", "bob#0", 5)]
    assert await shown(site) == await expected(log, store_for(log))


async def test_a_rebuild_shows_its_rows_when_it_is_put_into_use(site: Site, log: Log) -> None:
    await pay(log, "a", 1, customer="ann")
    await fold(log)
    newer = replace(
        SHOWN, version=2, fold=lambda s, e: Spent(cents=s.cents + 10 * e.cents, events=s.events + 1)
    )
    store = store_for(log)
    seen: list[Any] = []

    def went(done: int, goal: int) -> None:
        seen.append(done)

    before = await shown(site)
    await rebuild(log, newer, store, went=went)
    assert before == [("default", "ann", "ann#0", 1)]
    assert await shown(site) == [("default", "ann", "ann#0", 10)]
    await fold(log, newer)
    assert await shown(site, "SELECT DISTINCT generation FROM spending_rows") == [(2,)]


async def test_verifying_shows_nothing(site: Site, log: Log) -> None:
    await pay(log, "a", 1, customer="ann")
    await fold(log)
    assert (await verify(log, SHOWN, store_for(log))).different == ()
    assert await shown(site, "SELECT count(*) FROM spending_rows") == [(1,)]


async def test_what_the_database_does_not_take_parks_its_key_alone(site: Site, log: Log) -> None:
    await pay(log, "a", 1, customer="ann")
    await pay(log, "b", 1, customer="bob")
    await fold(log)
    await pay(log, "a", 2, 2000, customer="ann")
    await pay(log, "b", 2, customer="bob")
    await fold(log, batch=100)
    store = store_for(log)
    live = await live_of(store, SHOWN)
    [parked] = await store.parked(SHOWN.name, live.generation)
    assert (parked.key, parked.parked, parked.position) == ("ann", 3, 1)
    assert "check" in parked.error.lower()
    assert await shown(site) == [
        ("default", "ann", "ann#0", 1),
        ("default", "bob", "bob#0", 3),
        ("default", "bob", "bob#1", 3),
    ]
    assert await shown(site) == await expected(log, store)
    await pay(log, "a", -2000, customer="ann")
    await fold(log)  # it comes later than the checkpoint, up to which a parked key goes on
    await store.request(SHOWN.name, GO_ON)
    await fold(log)
    assert await States(log, SHOWN).state("ann") == Spent(cents=3, events=4)
    assert await shown(site) == await expected(log, store)


@pytest.mark.parametrize("wrong", [[("one",)], [("a", 1, 2)], [("a", "words")], [(object(), 1)]])
async def test_a_row_that_does_not_fit_parks_its_key(site: Site, log: Log, wrong: Any) -> None:
    def some(key: Key, state: Spent) -> Any:
        return wrong if key.key == "ann" else rows(key, state)

    await pay(log, "a", 1, customer="ann")
    await pay(log, "b", 1, customer="bob")
    await fold(log, replace(SHOWN, table=replace(SPENDING, rows=some)), batch=100)
    if isinstance(site, SqliteSite) and wrong == [("a", "words")]:
        return  # SQLite keeps words in a column of numbers
    store = store_for(log)
    [parked] = await store.parked(SHOWN.name, (await live_of(store, SHOWN)).generation)
    assert parked.key == "ann"
    assert await shown(site) == [("default", "bob", "bob#0", 1)]


async def test_a_redrive_from_the_start_makes_rows_anew(site: Site, log: Log) -> None:
    projection = replace(CHOOSY, table=SPENDING)
    await pay(log, "a", 1, 13, 2)
    await fold(log, projection)
    mended = replace(projection, fold=SHOWN.fold)
    await store_for(log).request(SHOWN.name, FROM_START)
    await fold(log, mended)
    key = "order/a"
    assert await shown(site) == [("default", key, f"{key}#{n}", 16) for n in range(3)]


async def test_two_who_fold_write_rows_once(site: Site, log: Log) -> None:
    store = store_for(log)
    live = await live_of(store, SHOWN)
    await pay(log, "a", 1, 2, 3, customer="ann")
    one = Folding(log, SHOWN, store, "one", lease=0.001, batch=1)
    await one.take(live.generation)
    await one.step()
    two = Folding(log, SHOWN, store, "two", lease=30, batch=1)
    while await two.take(live.generation) is None:
        await asyncio.sleep(0.001)
    await two.step()
    with pytest.raises(CheckpointMoved):
        await one.step()
    assert await shown(site) == await expected(log, store)
    while await two.step():
        pass
    assert await shown(site) == await expected(log, store)


async def test_killed_between_any_two_statements_rows_and_states_agree(site: Site, log: Log) -> None:
    """A folder dies at once, a little later, and so on, until it lives to the end."""
    store = store_for(log)
    live = await live_of(store, SHOWN)
    total, moment = 0, 0
    while True:
        await pay(log, "a", 1, customer="ann")
        await pay(log, "b", 1, customer="bob")
        total += 1
        folding = Folding(log, SHOWN, store, f"f{moment}", lease=0.001, batch=100)
        while await folding.take(live.generation) is None:
            await asyncio.sleep(0.001)
        dying = asyncio.create_task(folding.step())
        await asyncio.wait([dying], timeout=moment * 0.0003)
        moment += 1
        alive = dying.done()
        dying.cancel()
        with suppress(asyncio.CancelledError, CheckpointMoved):
            await dying
        assert await shown(site) == await expected(log, store)
        if alive and moment > 20:
            break
    await fold(log)
    assert (await States(log, SHOWN).state("ann")).cents == total
    assert await shown(site) == await expected(log, store)


async def test_a_projector_keeps_it_while_rebuilds_go_on(site: Site, log: Log) -> None:
    async with projecting(log, SHOWN):
        for n in range(30):
            await pay(log, f"o{n}", 1, customer=f"c{n % 4}")
            if n % 10 == 5:
                await rebuild(log, SHOWN, store_for(log))
        await States(log, SHOWN).caught_up((await log.head()).position)
        assert await shown(site) == await expected(log, store_for(log))
        assert [row[3] for row in await shown(site)] == [8] * 6 + [7] * 6


async def test_a_table_that_is_not_as_declared_is_named(site: Site, log: Log) -> None:
    await pay(log, "a", 1, customer="ann")
    other = replace(SHOWN, table=replace(SPENDING, columns={"item": "text", "euros": "bigint"}))
    with pytest.raises(StorageRefused, match="spending_rows"):
        await fold(log, other)
    if isinstance(site, PostgresSite):
        with pytest.raises(StorageRefused, match="projection tables"):
            await fold(log, replace(SHOWN, table=replace(SPENDING, name="nowhere")))


async def test_a_log_without_tables_refuses_them() -> None:
    async with Log(MemoryBackend()) as log:
        with pytest.raises(NotSupported, match="Use SQLite or Postgres"):
            await fold(log)


def test_what_cannot_be_a_table_is_refused() -> None:
    with pytest.raises(DeclarationRefused, match="no name"):
        Table("Spending; DROP TABLE x", {"a": "text"}, rows)
    with pytest.raises(DeclarationRefused, match="there already"):
        Table("spending", {"key": "text"}, rows)
    with pytest.raises(DeclarationRefused, match="no columns"):
        Table("spending", {}, rows)
    with pytest.raises(DeclarationRefused, match="has a table"):
        replace(SHOWN, store=RedisStates("redis://127.0.0.1"))

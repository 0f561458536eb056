"""What becomes of states in ClickHouse when a write, an answer, a lease or the server is lost, at any moment."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headwater.errors import CheckpointMoved, Trouble
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.projections.clickhouse import ClickHouseStates, ClickHouseStore
from headwater.projections.folding import Folding
from headwater.projections.projector import Projector
from headwater.projections.rebuild import live_of, rebuild, verify
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, GO_ON, Key, StateRow
from headwater.testing.contract import Site
from tests.contract.sites import SqliteSite
from tests.integration.projections.shop import BY_STREAM, CHOOSY, Spent, choosy, pay, spent
from tests.integration.projections.test_folding import fold_all, folding_of
from tests.servers.clickhouse import ClickHouseServer

DOUBLED = replace(BY_STREAM, fold=lambda state, event: spent(spent(state, event), event))
"""A fold that is wrong."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return SqliteSite(tmp_path)


@pytest.fixture
async def kept() -> AsyncIterator[ClickHouseStates]:
    states = ClickHouseStates("chdb::memory:")
    yield states
    await states.close()


@pytest.fixture
def store(log: Log, kept: ClickHouseStates) -> ClickHouseStore:
    return kept(log)


def dies_before_the_checkpoint(store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write of states is done, and what would follow is not."""
    insert = store._table.insert

    async def inserted(*arguments: Any) -> None:
        monkeypatch.undo()
        await insert(*arguments)
        raise Trouble("dead")

    monkeypatch.setattr(store._table, "insert", inserted)


class Late:
    """Writes of one store that wait before they are sent."""

    def __init__(self, store: ClickHouseStore) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.insert, self._table = store._table.insert, store._table
        store._table = self  # type: ignore[assignment]
        self.insert = self._wait  # type: ignore[method-assign]

    async def _wait(self, *arguments: Any) -> None:
        self.reached.set()
        await self.go_on.wait()
        await self._table.insert(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


async def to_the_end(folding: Folding[Spent]) -> None:
    while await folding.step():
        pass


async def true_states(log: Log, store: ClickHouseStore) -> None:
    """The projection equals the fold of the log, which is read here without any store."""
    folded: dict[Key, Spent] = {}
    async for page in log.pages(types=BY_STREAM.types):
        for one in page.events:
            key = Key(one.stream.tenant, f"{one.stream.type}/{one.stream.id}")
            folded[key] = spent(folded.get(key, Spent()), one.event)
    live = await live_of(store, BY_STREAM)
    rows = await store.page("spent", live.generation, limit=10_000)
    assert {Key(*row[:2]): BY_STREAM.decode(row.state or b"{}") for row in rows} == folded
    assert not await store.parked("spent", live.generation)
    assert (await verify(log, BY_STREAM, store)).different == ()


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_a_death_between_states_and_checkpoint_counts_no_event_twice(
    log: Log, kept: ClickHouseStates, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    for n in range(12):
        await pay(log, f"o{n % 3}", n)
    store = kept(log)
    folding = await folding_of(log, BY_STREAM, store, "dies", batch=5)
    await folding.step()
    dies_before_the_checkpoint(store, monkeypatch)
    with pytest.raises(Trouble):
        await to_the_end(folding)
    await folding.release()
    ahead = (await live_of(store, BY_STREAM)).position
    assert max(row.position for row in await store.page("spent", 1)) > ahead
    after = kept(log)
    await pay(log, "o0", 100)
    await fold_all(log, BY_STREAM, after, batch=batch)
    await true_states(log, after)


async def test_who_goes_on_itself_after_a_lost_answer_counts_no_event_twice(
    log: Log, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(log, "a", 1, 2, 3)
    folding = await folding_of(log, BY_STREAM, store)
    dies_before_the_checkpoint(store, monkeypatch)
    with pytest.raises(Trouble):
        await to_the_end(folding)
    await folding.take(1)
    await to_the_end(folding)
    await true_states(log, store)


@pytest.mark.parametrize("meanwhile", ["nothing", "a key's events", "a redrive", "a rebuild"])
async def test_a_writer_whose_lease_was_taken_writes_late_and_changes_nothing(
    log: Log, kept: ClickHouseStates, meanwhile: str
) -> None:
    """It has folded with code that was wrong, as what it writes must not be seen once another wrote."""
    store, late = kept(log), kept(log)
    for n in range(6):
        await pay(log, f"o{n % 3}", n)
    fold = BY_STREAM if meanwhile == "nothing" else DOUBLED
    slow = Folding(log, fold, late, "slow", lease=0.2, batch=100)
    live = await live_of(store, BY_STREAM)
    assert await slow.take(live.generation) is not None
    held = Late(late)
    writing = asyncio.create_task(slow.step())
    await held.reached.wait()
    quick = Folding(log, BY_STREAM, store, "quick", lease=30, batch=100)
    async with asyncio.timeout(10):
        while await quick.take(live.generation) is None:
            await asyncio.sleep(0.01)
    if meanwhile != "nothing":
        await to_the_end(quick)
    if meanwhile == "a redrive":
        assert await store.request("spent", FROM_START) == 3
        await quick.take(live.generation)
        assert await quick.again() == 3
    if meanwhile == "a rebuild":
        await quick.release()
        await rebuild(log, BY_STREAM, store)
    held.go_on.set()
    with pytest.raises(CheckpointMoved):
        await writing
    if meanwhile == "a rebuild":
        quick = await fold_all(log, BY_STREAM, store)
    await pay(log, "o1", 100)
    await to_the_end(quick)
    await quick.release()
    await true_states(log, store)
    assert len(await store._table.generations(store._log_id, "spent")) == 1


async def test_a_redrive_puts_back_a_state_that_is_ahead(
    log: Log, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position is before the one of the state that it replaces, and it was asked for in the same epoch."""
    await pay(log, "a", 1)
    folding = await fold_all(log, BY_STREAM, store)
    await folding.release()
    await pay(log, "a", 2)
    wrong = await folding_of(log, DOUBLED, store)
    assert await store.request("spent", FROM_START, tenant="default", key="order/a") == 1
    await wrong.take(1)
    dies_before_the_checkpoint(store, monkeypatch)
    with pytest.raises(Trouble):
        await to_the_end(wrong)
    await wrong.release()
    again = await folding_of(log, BY_STREAM, store)
    assert await again.again() == 1
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=1, events=1)
    await to_the_end(again)
    await again.release()
    await true_states(log, store)


async def test_a_key_that_parks_in_a_write_that_is_cut_off_parks_again(
    log: Log, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(log, "a", 1, 13, 2)
    await pay(log, "b", 13)
    folding = await folding_of(log, CHOOSY, store, batch=100)
    dies_before_the_checkpoint(store, monkeypatch)
    with pytest.raises(Trouble):
        await to_the_end(folding)
    assert not await store.parked("spent", 1)
    await folding.take(1)
    await folding.step()
    rows = {row.key: row for row in await store.parked("spent", 1)}
    assert (rows["order/a"].position, rows["order/a"].parked) == (1, 2)
    assert (rows["order/b"].state, rows["order/b"].parked) == (None, 4)
    await folding.release()
    assert await store.request("spent", GO_ON) == 2
    mended = await folding_of(log, BY_STREAM, store)
    dies_before_the_checkpoint(store, monkeypatch)
    with pytest.raises(Trouble):
        await mended.again()
    assert len(await store.parked("spent", 1)) == 2, (
        "who asks is told that they are parked until the checkpoint knows"
    )
    await mended.take(1)
    assert await mended.again() == 2
    await mended.release()
    await true_states(log, store)


@pytest.mark.parametrize("look", ["_home", "_table"])
async def test_a_reader_sees_no_old_state_where_it_sees_no_mark(
    log: Log, kept: ClickHouseStates, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """A key is redriven between two looks of a reader."""
    await pay(log, "a", 1, 13)
    store, reader = kept(log), kept(log)
    await (await fold_all(log, CHOOSY, store)).release()
    await store.request("spent", GO_ON)
    looked_at = getattr(reader, look)
    load, redriven = looked_at.load, 0

    async def redriven_after(*arguments: Any) -> Any:
        nonlocal redriven
        found = await load(*arguments)
        monkeypatch.undo()
        redriven += await (await folding_of(log, BY_STREAM, store)).again()
        return found

    monkeypatch.setattr(looked_at, "load", redriven_after)
    [row] = (await reader.load("spent", 1, [Key("default", "order/a")])).values()
    assert redriven == 1
    assert row.parked or BY_STREAM.decode(row.state or b"") == Spent(cents=14, events=2)


async def test_numbers_of_generations_are_used_again_and_their_states_are_not(
    log: Log, kept: ClickHouseStates
) -> None:
    """One who built generation 2 writes late, after it was dropped and another generation 2 was begun."""
    for n in range(6):
        await pay(log, f"o{n % 3}", n)
    store, late = kept(log), kept(log)
    await (await fold_all(log, BY_STREAM, store)).release()
    await store.create("spent", 2, 0, live=False)
    for holder in ("some", "more", "epochs"):
        await store.take("spent", 2, holder, 1)
        await store.release("spent", 2, holder)
    old = Folding(log, DOUBLED, late, "old", lease=30, batch=100)
    assert await old.take(2) is not None
    held = Late(late)
    writing = asyncio.create_task(old.step())
    await held.reached.wait()
    await store.drop("spent", 2)
    await store.create("spent", 2, 1, live=False)
    fresh = Folding(log, BY_STREAM, store, "fresh", lease=30, batch=4)
    assert await fresh.take(2) is not None
    await fresh.step()
    held.go_on.set()
    with pytest.raises(CheckpointMoved):
        await writing
    await fresh.release()
    await rebuild(log, BY_STREAM, store)
    await true_states(log, store)
    assert (await live_of(store, BY_STREAM)).generation == 2


async def test_states_that_clickhouse_has_lost_are_filled_again(
    log: Log, kept: ClickHouseStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back as it was some writes ago; then with nothing."""
    store, table = kept(log), kept._table
    position = await pay(log, "a", 1, 13)
    folding = await fold_all(log, CHOOSY, store)
    for lost in ("the last write", "everything"):
        with monkeypatch.context() as patch:
            if lost == "the last write":

                async def acknowledged(*arguments: Any) -> None:
                    """And gone."""

                patch.setattr(table, "insert", acknowledged)
            position = await pay(log, "b", 2)
            await folding.step()
        if lost == "everything":
            await table._ask(lambda client: client.command("TRUNCATE TABLE _headwater_states"))
        states = States(log, BY_STREAM, kept(log))
        with pytest.raises(Trouble, match="has lost states of projection 'spent'"):
            await states.state("order/b")
        await folding.release()
        folding = await fold_all(log, BY_STREAM, store)
        assert folding.at is not None
        assert folding.at.position == position
        await folding.release()
        await true_states(log, store)
        folding = await folding_of(log, BY_STREAM, store)


async def test_a_clickhouse_that_is_away_costs_lag_only(
    log: Log, private_clickhouse: ClickHouseServer
) -> None:
    kept = ClickHouseStates(private_clickhouse.url)
    projection = replace(BY_STREAM, store=kept)
    projector = Projector(log, [projection], lease=1.0)
    states = States(log, projection)

    async def back() -> None:
        await asyncio.to_thread(private_clickhouse.start)
        while projector.failing:
            await asyncio.sleep(0.01)

    await projector.start()
    try:
        async with asyncio.timeout(50):
            await states.caught_up(await pay(log, "a", 1, 2))
            private_clickhouse.kill()
            position = await pay(log, "a", 4)
            while not projector.failing:
                await asyncio.sleep(0.01)
            with pytest.raises(Trouble, match="cannot be reached"):
                await states.state("order/a")
            await back()
            await states.caught_up(position)
            assert await states.state("order/a") == Spent(cents=7, events=3)

            private_clickhouse.lose_an_answer()
            await states.caught_up(await pay(log, "a", 8))
            assert private_clickhouse.lost_it
            assert await states.state("order/a") == Spent(cents=15, events=4)

            private_clickhouse.kill()
            private_clickhouse.wipe()
            while not projector.failing:
                await asyncio.sleep(0.01)
            await back()
            await states.caught_up(await pay(log, "b", 1))
            assert await states.state("order/a") == Spent(cents=15, events=4)
        await projector.stop()
        await true_states(log, kept(log))
    finally:
        await projector.stop()
        await kept.close()


class Mortal:
    """Those who fold: each write of theirs may be lost, be done by half, or be done and not be told of."""

    def __init__(self, log: Log, kept: ClickHouseStates, chance: Random) -> None:
        self.log, self.kept, self.chance = log, kept, chance
        self.folders: list[Folding[Spent]] = []

    def store(self) -> ClickHouseStore:
        store = self.kept(self.log)
        insert, save = store._table.insert, store._home.save
        chance = self.chance

        class Table:
            def __getattr__(self, name: str) -> Any:
                return getattr(kept_table, name)

            async def insert(self, place: Any, version: int, position: int, rows: Sequence[StateRow]) -> None:
                fate = chance.random()
                if fate < 0.1:
                    raise Trouble("not sent")
                if fate < 0.2:
                    await insert(place, version, position, list(rows)[: len(rows) // 2])
                    raise Trouble("by half")
                await insert(place, version, position, rows)
                if fate < 0.3:
                    raise Trouble("not answered")

        class Home:
            def __getattr__(self, name: str) -> Any:
                return getattr(home, name)

            async def save(self, *arguments: Any) -> Any:
                fate = chance.random()
                if fate < 0.1:
                    raise Trouble("not sent")
                saved = await save(*arguments)
                if fate < 0.2:
                    raise Trouble("not answered")
                return saved

        kept_table, home = store._table, store._home
        store._table, store._home = Table(), Home()  # type: ignore[assignment]
        return store

    def folding(self) -> Folding[Spent]:
        projection = self.chance.choice([BY_STREAM, replace(BY_STREAM, fold=choosy)])
        batch, lease = self.chance.randint(1, 7), self.chance.choice([0.001, 0.05])
        name = str(len(self.folders))
        return Folding(self.log, projection, self.store(), name, lease=lease, batch=batch)

    async def goes_on(self, store: ClickHouseStore) -> None:
        chance = self.chance
        match chance.randrange(8):
            case 0 | 1:
                cents = [chance.choice([1, 5, 13]) for _ in range(chance.randint(1, 4))]
                await pay(self.log, f"o{chance.randrange(4)}", *cents)
            case 2:
                self.folders.append(self.folding())
            case 3:
                one = chance.choice([None, f"order/o{chance.randrange(4)}"])
                await store.request("spent", chance.choice([GO_ON, FROM_START]), key=one)
            case 4 if chance.random() < 0.3:
                await rebuild(self.log, BY_STREAM, self.store(), lease=0.05)
            case _ if self.folders:
                folder = chance.choice(self.folders[-3:])
                if folder.at is None or chance.random() < 0.5:
                    await folder.take((await live_of(store, BY_STREAM)).generation)
                if folder.at is not None:
                    await folder.again()
                await folder.step()
            case _:
                pass


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_lost_the_projection_equals_the_fold_of_the_log(
    log: Log, kept: ClickHouseStates, seed: int
) -> None:
    chance = Random(seed)
    world, store = Mortal(log, kept, chance), kept(log)
    await live_of(store, BY_STREAM)
    for _ in range(60):
        with suppress(Trouble, CheckpointMoved):
            await world.goes_on(store)
    await store.request("spent", GO_ON)
    async with asyncio.timeout(30):
        while True:
            with suppress(CheckpointMoved):
                last = Folding(log, BY_STREAM, store, "last", lease=30, batch=3)
                if await last.take((await live_of(store, BY_STREAM)).generation) is not None:
                    while await last.again():
                        pass
                    await to_the_end(last)
                    break
            await asyncio.sleep(0.01)
    for one in (last, *world.folders):
        await one.release()
    await true_states(log, store)


async def test_streams_of_other_tenants_are_asked_for_by_their_own(log: Log, store: ClickHouseStore) -> None:
    for tenant in ("red", "blue"):
        await pay(log, "a", 1, tenant=tenant)
        await pay(log, "b", 1, tenant=tenant)
    folding = await fold_all(log, DOUBLED, store)
    for counted, asked in (
        (1, {"tenant": "red", "key": "order/a"}),
        (2, {"key": "order/b"}),
        (2, {"tenant": "blue"}),
        (4, {}),
        (0, {"key": "order/none"}),
    ):
        assert await store.request("spent", FROM_START, **asked) == counted
    await folding.release()
    await (await fold_all(log, BY_STREAM, store)).release()
    await true_states(log, store)
    assert await States(log, BY_STREAM, store).at_version(Stream("order", "a", "red"), 1) == Spent(
        cents=1, events=1
    )

"""Folding: each event once, whatever happens; a failing key stops alone."""

from dataclasses import replace

import pytest

from headwater.errors import CheckpointMoved, Parked, StateUnreadable
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.projections.folding import Folding
from headwater.projections.projection import Projection
from headwater.projections.rebuild import live_of, rebuild, state_hash, verify
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, GO_ON, Key, Store
from tests.integration.projections.shop import BY_CUSTOMER, BY_STREAM, CHOOSY, Noted, Spent, pay, spent


async def folding_of(
    log: Log, projection: Projection[Spent], store: Store, holder: str = "one", *, batch: int = 2
) -> Folding[Spent]:
    folding = Folding(log, projection, store, holder, lease=30, batch=batch)
    live = await live_of(store, projection)
    assert await folding.take(live.generation) is not None
    return folding


async def fold_all(
    log: Log, projection: Projection[Spent], store: Store, *, batch: int = 2
) -> Folding[Spent]:
    folding = await folding_of(log, projection, store, batch=batch)
    await folding.again()
    while await folding.step():
        pass
    return folding


async def test_states_are_the_fold_by_stream_and_by_a_function_of_the_event(log: Log, store: Store) -> None:
    by_customer = replace(BY_CUSTOMER, name="by_customer")
    await pay(log, "a", 1, 2, customer="ann")
    await pay(log, "b", 4, customer="ann")
    await pay(log, "c", 8, customer="bob")
    for projection in (BY_STREAM, by_customer):
        await fold_all(log, projection, store)
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=3, events=2)
    assert await States(log, by_customer, store).state("ann") == Spent(cents=7, events=3)
    assert await States(log, by_customer, store).state("nobody") == Spent()


async def test_tenants_have_states_of_their_own(log: Log, store: Store) -> None:
    await pay(log, "a", 1, tenant="red")
    await pay(log, "a", 2, tenant="blue")
    await fold_all(log, BY_STREAM, store)
    states = States(log, BY_STREAM, store)
    assert (await states.state("order/a", tenant="red")).cents == 1
    assert (await states.state("order/a", tenant="blue")).cents == 2


async def test_the_checkpoint_passes_events_of_others(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    [noted] = await log.append(Write(Stream("note", "n"), [Noted(text=str(n)) for n in range(7)]))
    folding = await fold_all(log, BY_STREAM, store)
    assert folding.at is not None
    assert folding.at.position == noted.position


async def test_of_two_that_fold_the_same_page_one_writes(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    first = await folding_of(log, BY_STREAM, store)
    second = await folding_of(log, BY_STREAM, store)
    assert await first.step()
    with pytest.raises(CheckpointMoved):
        await second.step()
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=1, events=1)


async def test_a_lease_is_held_by_one_and_passes_with_another_epoch(log: Log, store: Store) -> None:
    first = await folding_of(log, BY_STREAM, store)
    live = await live_of(store, BY_STREAM)
    assert await store.take("spent", live.generation, "two", 1_000_000) is None
    await first.release()
    taken = await store.take("spent", live.generation, "two", 1_000_000)
    assert taken is not None
    assert taken.epoch > live.epoch


async def test_a_failing_event_parks_its_key_and_the_rest_goes_on(log: Log, store: Store) -> None:
    failed = await pay(log, "a", 1, 13)
    await pay(log, "a", 2)
    last = await pay(log, "b", 5)
    await fold_all(log, CHOOSY, store)
    states = States(log, CHOOSY, store)
    assert await states.state("order/a") == Spent(cents=1, events=1)
    assert await states.state("order/b") == Spent(cents=5, events=1)
    await states.caught_up(last, key="order/b")
    with pytest.raises(Parked, match="thirteen") as parked:
        await states.caught_up(last)
    assert parked.value.position == failed


async def test_a_redrive_folds_what_queued_behind(log: Log, store: Store) -> None:
    await pay(log, "a", 1, 13, 2)
    await fold_all(log, CHOOSY, store)
    await pay(log, "a", 4)
    await fold_all(log, CHOOSY, store)
    assert await store.request("spent", GO_ON) == 1
    folding = await fold_all(log, BY_STREAM, store)
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=20, events=4)
    assert folding.at is not None
    assert not await store.parked("spent", folding.at.generation)


async def test_who_folds_hears_of_a_request_before_its_next_write(log: Log, store: Store) -> None:
    await pay(log, "a", 13)
    folding = await fold_all(log, CHOOSY, store)
    await store.request("spent", GO_ON)
    await pay(log, "a", 1)
    with pytest.raises(CheckpointMoved):
        await folding.step()


async def test_one_key_is_rebuilt_from_the_start(log: Log, store: Store) -> None:
    await pay(log, "a", 1, 2)
    folding = await fold_all(log, BY_STREAM, store)
    at = folding.at
    assert at is not None
    [row] = await store.page(at.name, at.generation)
    await store.save(at, at.position, [row._replace(state=BY_STREAM.encode(Spent(cents=99)))])
    await store.request("spent", FROM_START, tenant="default", key="order/a")
    await fold_all(log, BY_STREAM, store)
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=3, events=2)


async def test_a_state_that_does_not_decode_is_an_error(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    folding = await fold_all(log, BY_STREAM, store)
    at = folding.at
    assert at is not None
    [row] = await store.page(at.name, at.generation)
    await store.save(at, at.position, [row._replace(state=b'{"cents": "many"}')])
    with pytest.raises(StateUnreadable):
        await States(log, BY_STREAM, store).state("order/a")
    last = await pay(log, "a", 2)
    await folding.take(at.generation)
    await fold_all(log, BY_STREAM, store)
    with pytest.raises(Parked, match="does not fit"):
        await States(log, BY_STREAM, store).caught_up(last)


async def test_verify_finds_what_is_not_the_fold_and_a_rebuild_mends_it(log: Log, store: Store) -> None:
    for order in range(5):
        await pay(log, f"o{order}", order, order)
    folding = await fold_all(log, BY_STREAM, store, batch=3)
    at = folding.at
    assert at is not None
    good = await verify(log, BY_STREAM, store)
    assert (good.keys, good.different) == (5, ())
    assert good.hash == await state_hash(store, "spent", at.generation)
    row = (await store.load("spent", at.generation, [Key("default", "order/o3")]))[Key("default", "order/o3")]
    await store.save(at, at.position, [row._replace(state=BY_STREAM.encode(Spent(cents=99)))])
    assert (await verify(log, BY_STREAM, store)).different == (Key("default", "order/o3"),)
    await rebuild(log, BY_STREAM, store)
    assert await States(log, BY_STREAM, store).state("order/o3") == Spent(cents=6, events=2)
    assert (await verify(log, BY_STREAM, store)).different == ()


async def test_a_generation_that_is_behind_is_not_swapped_in(log: Log, store: Store) -> None:
    await pay(log, "a", 1, 2)
    await fold_all(log, BY_STREAM, store)
    await store.create("spent", 2, 1, live=False)
    building = await store.take("spent", 2, "builder", 1_000_000)
    assert building is not None
    assert not await store.swap(building)
    assert (await live_of(store, BY_STREAM)).generation == 1


async def test_a_rebuild_that_died_is_taken_up_where_it_was(log: Log, store: Store) -> None:
    for order in range(6):
        await pay(log, f"o{order}", 1)
    live = await fold_all(log, BY_STREAM, store)
    doubled = replace(BY_STREAM, version=2, fold=lambda s, e: spent(spent(s, e), e))
    await store.create("spent", 2, 2, live=False)
    dead = Folding(log, doubled, store, "dead", lease=0.2, batch=4)
    assert await dead.take(2) is not None
    await dead.step()
    seen: list[int] = []
    await rebuild(log, doubled, store, lease=0.2, went=lambda done, _: seen.append(done))
    assert min(seen) > 4, "it began where the dead one had stopped"
    assert await States(log, doubled, store).state("order/o0") == Spent(cents=2, events=2)
    await pay(log, "o0", 1)
    with pytest.raises(CheckpointMoved):
        await live.step()


async def test_states_at_a_version_and_at_a_time(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    [first] = [r async for r in log.stream(Stream("order", "a"))]
    await pay(log, "a", 2)
    states = States(log, BY_STREAM, store)
    assert (await states.at_version(Stream("order", "a"), 1)).cents == 1
    assert (await states.at_time(Stream("order", "a"), first.recorded_at)).cents in {1, 3}
    assert (await states.at_version(Stream("order", "a"), 2)).cents == 3


async def test_what_is_folded_is_written_at_the_end_of_the_log_whatever_is_there(
    log: Log, store: Store
) -> None:
    folding = Folding(log, BY_STREAM, store, "one", lease=30, batch=2, every=60)
    await pay(log, "a", 1, 2, 4, 8)
    await log.append(Write(Stream("order", "a"), [Noted(text="of another type")]))
    assert await folding.take((await live_of(store, BY_STREAM)).generation) is not None
    while await folding.step(lazily=True):
        pass
    assert (await States(log, BY_STREAM, store).state("order/a")).cents == 15

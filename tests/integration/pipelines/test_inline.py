"""Inline projections: whoever has stored reads it, and the states are the fold of the log all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from headwater import Headwater
from headwater.errors import DeclarationRefused, WrongVersion
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.side import Fence, OpenFence
from headwater.log.write import Write
from headwater.pipelines.pipeline import Pipeline
from headwater.projections.folding import Folding
from headwater.projections.open import store_for
from headwater.projections.projection import Projection
from headwater.projections.rebuild import live_of, rebuild, verify
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, Key, StateRow
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Balance, Drawn, Paid, Pay, accounts, fold, turnover
from tests.projecting import projecting

BUSY = Projection(
    "busy",
    state=Balance,
    initial=Balance(),
    fold=turnover,
    events=(Paid, Drawn),
    stream_types=("account",),
    inline=True,
)


def banking() -> Pipeline[Any, Balance]:
    return accounts(inline=True, projections=[BUSY])


async def row_of(log: Log, aggregate: str, name: str = "accounts") -> StateRow | None:
    """What is kept, whatever the stream has beyond it."""
    store = store_for(log)
    [live] = [at for at in await store.checkpoints(name) if at.live]
    key = Key("default", f"account/{aggregate}")
    return (await store.load(name, live.generation, [key])).get(key)


async def begun(log: Log, pipeline: Pipeline[Any, Any]) -> None:
    """Generations are there, and nobody folds them."""
    for projection in pipeline.projections:
        await live_of(projection.store(log), projection)


async def test_what_was_stored_is_read_at_once_with_nobody_folding(log: Log) -> None:
    pipeline = banking()
    await begun(log, pipeline)
    service = pipeline.on(log)
    await service.store("a", Paid(cents=5))
    appended = await service.store("a", Paid(cents=4), Drawn(cents=1))
    for name, cents in (("accounts", 8), ("busy", 10)):
        row = await row_of(log, "a", name)
        assert row is not None
        assert (row.position, row.state) == (appended.position, b'{"cents":%d}' % cents)
    assert await service.projected("a") == Balance(cents=8)
    assert (await pipeline.on(log).handle("a", Pay(cents=2), key="k")).version == 4
    assert await States(log, BUSY).state("account/a") == Balance(cents=12)
    row = await row_of(log, "a")
    assert row is not None
    assert row.state == b'{"cents":10}'


async def test_a_state_holds_what_came_by_other_ways(log: Log) -> None:
    pipeline = banking()
    await begun(log, pipeline)
    service = pipeline.on(log)
    await service.store("a", Paid(cents=1))
    stream = Stream("account", "a")
    for _ in range(40):
        await log.append(Write(stream, [Paid(cents=1)]))
    assert await service.projected("a") == Balance(cents=41)
    assert (await service.fetch("a")).version == 41
    await service.store("a", Paid(cents=1))
    row = await row_of(log, "a")
    assert row is not None
    assert row.state == b'{"cents":42}'


async def test_a_fold_that_refuses_an_event_refuses_the_append(log: Log) -> None:
    def picky(state: Balance, event: Paid | Drawn) -> Balance:
        if event.cents == 13:
            raise ValueError("unlucky")
        return fold(state, event)

    pipeline = accounts(projections=[replace(BUSY, fold=picky)])
    await begun(log, pipeline)
    service = pipeline.on(log)
    await service.store("a", Paid(cents=1))
    with pytest.raises(ValueError, match="unlucky"):
        await service.store("a", Paid(cents=13))
    assert await log.version(Stream("account", "a")) == 1
    await service.store("a", Paid(cents=2))
    assert await States(log, BUSY).state("account/a") == Balance(cents=3)


async def test_events_are_folded_as_they_will_be_read(log: Log) -> None:
    seen: list[type[object]] = []

    class Special(Paid):
        """Another class of the same type, which the log gives back as the first."""

    def watch(state: Balance, event: Paid | Drawn) -> Balance:
        seen.append(type(event))
        return fold(state, event)

    pipeline = accounts(projections=[replace(BUSY, fold=watch)])
    await begun(log, pipeline)
    await pipeline.on(log).store("a", Special(cents=1))
    assert seen == [Paid]


async def test_versions_fences_and_keys_are_as_without(log: Log) -> None:
    pipeline = banking()
    await begun(log, pipeline)
    service = pipeline.on(log)
    first = await service.store("a", Paid(cents=5), expect=0, key="one")
    assert await service.store("a", Paid(cents=5), expect=0, key="one") == first._replace(
        known=(True,), recorded_at=0
    )
    with pytest.raises(WrongVersion):
        await service.store("a", Paid(cents=5), expect=0)
    assert (await service.store("a", Paid(cents=5), key="one")).known == (True,)
    assert await service.projected("a") == Balance(cents=5)
    await log.append(Write(Stream("account", "b"), [Paid(cents=1)], rows=[OpenFence("f", holder="us")]))
    await service.store("a", Paid(cents=1), expect=Fence("f", 1))
    with pytest.raises(Exception, match="f"):
        await service.store("a", Paid(cents=1), expect=Fence("f", 2))
    assert await service.projected("a") == Balance(cents=6)


@pytest.mark.parametrize("known", [True, False], ids=["known-states", "new-states"])
async def test_a_storm_from_two_processes_while_states_are_folded(log: Log, site: Site, known: bool) -> None:
    """Stored, commanded and appended at once on few accounts: each event counts once in every state."""
    pipeline = banking()
    if known:
        await begun(log, pipeline)
    async with Log(site.backend(), log.registry) as other, projecting(other, *pipeline.projections):
        services = [banking().on(log), banking().on(other)]

        async def store(n: int) -> None:
            service, account = services[n % 2], f"a{n % 3}"
            match n % 4:
                case 0:
                    await service.handle(account, Pay(cents=1), key=f"k{n}")
                case 1:
                    await service.log.append(Write(Stream("account", account), [Paid(cents=1)]))
                case _:
                    await service.store(account, Paid(cents=1), key=f"s{n}")
            assert (await service.projected(account)).cents >= 1

        await asyncio.gather(*[store(n) for n in range(180)])
        for account in ("a0", "a1", "a2"):
            assert await services[0].projected(account) == Balance(cents=60)
        head = await log.head()
        for projection in pipeline.projections:
            await States(log, projection).caught_up(head.position)
    for name in ("accounts", "busy"):
        for account in ("a0", "a1", "a2"):
            row = await row_of(log, account, name)
            assert row is not None
            assert row.state == b'{"cents":60}'
    for projection in pipeline.projections:
        assert (await verify(log, projection, projection.store(log))).different == ()


async def test_a_rebuild_and_a_redrive_among_appends_end_in_the_fold(log: Log) -> None:
    pipeline = banking()
    service = pipeline.on(log)
    stop, stored = asyncio.Event(), asyncio.Event()

    async def store() -> int:
        count = 0
        while not stop.is_set():
            await service.store("a", Paid(cents=1))
            count += 1
            stored.set()
            assert await service.projected("a") == Balance(cents=count)
        return count

    async with projecting(log, *pipeline.projections):
        await begun(log, pipeline)
        storing = asyncio.create_task(store())
        for _ in range(3):
            stored.clear()
            await stored.wait()
            compared = await rebuild(log, pipeline.projection, store_for(log))
            assert compared.different == ()
            await store_for(log).request("accounts", FROM_START)
        stop.set()
        count = await storing
        await service.states.caught_up((await log.head()).position)
        await service.rebuild("a")
    row = await row_of(log, "a")
    assert row is not None
    assert row.state == b'{"cents":%d}' % count


async def test_a_folder_that_stood_still_does_not_put_states_back(log: Log) -> None:
    pipeline = banking()
    projection, store = pipeline.projection, store_for(log)
    service = pipeline.on(log)
    live = await live_of(store, projection)
    await log.append(Write(Stream("account", "a"), [Paid(cents=1)]))
    folding = Folding(log, projection, store, "us", batch=1)
    await folding.take(live.generation)
    saving = store.save

    async def overtaken(at: Any, position: int, rows: Any) -> Any:
        if position == 1:
            await service.store("a", Paid(cents=1))
        return await saving(at, position, rows)

    store.save = overtaken  # type: ignore[method-assign]
    await folding.step()
    row = await row_of(log, "a")
    assert row is not None
    assert (row.position, row.state) == (2, b'{"cents":2}')
    while await folding.step():
        pass
    assert await row_of(log, "a") == row


async def test_a_newer_fold_reads_what_an_older_one_has_kept_from_the_log(log: Log) -> None:
    pipeline = banking()
    await begun(log, pipeline)
    await pipeline.on(log).store("a", Paid(cents=3))

    def hundredfold(state: Balance, event: Paid | Drawn) -> Balance:
        return Balance(cents=state.cents + 100 * event.cents)

    newer: Pipeline[Paid | Drawn, Balance] = Pipeline(
        name="accounts",
        aggregate_type="account",
        events=(Paid, Drawn),
        state=Balance,
        initial=Balance(),
        fold=hundredfold,
        version=2,
        inline=True,
    )
    service = newer.on(log)
    assert await service.projected("a") == Balance(cents=300)
    await service.store("a", Paid(cents=1))
    assert await service.projected("a") == Balance(cents=400)
    row = await row_of(log, "a")
    assert row is not None
    assert row.state == b'{"cents":3}', "the state of the older fold is not for the newer one to write"
    async with projecting(log, *newer.projections):
        await service.states.caught_up(2)
    row = await row_of(log, "a")
    assert row is not None
    assert row.state == b'{"cents":400}'


def test_what_cannot_be_inline_is_refused() -> None:
    with pytest.raises(DeclarationRefused, match="inline"):
        replace(BUSY, key=lambda _: "all")
    with pytest.raises(DeclarationRefused, match="inline"):
        accounts(from_stream=True, inline=True)
    with pytest.raises(DeclarationRefused, match="one aggregate type"):
        replace(BUSY, stream_types=())
    with pytest.raises(DeclarationRefused, match="belongs to the pipeline"):
        Headwater("bank").project(BUSY)

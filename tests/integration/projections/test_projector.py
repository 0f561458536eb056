"""The projector: follows, pauses, rebuilds what has a new version."""

import asyncio
from dataclasses import replace

from headwater.log.log import Log
from headwater.projections.rebuild import live_of, verify
from headwater.projections.states import States
from headwater.projections.stores import Store
from tests.integration.projections.shop import BY_STREAM, Spent, pay, spent
from tests.projecting import projecting


async def test_what_is_appended_becomes_visible(log: Log, store: Store) -> None:
    async with projecting(log, BY_STREAM) as projector, asyncio.timeout(20):
        states = States(log, BY_STREAM, store)
        for cents in range(1, 6):
            await states.caught_up(await pay(log, "a", cents))
        assert await states.state("order/a") == Spent(cents=15, events=5)
        assert not projector.failing


async def test_two_projectors_share_the_work_and_apply_once(log: Log, store: Store) -> None:
    async with asyncio.timeout(20), projecting(log, BY_STREAM), projecting(log, BY_STREAM):
        position = 0
        for n in range(30):
            position = await pay(log, f"o{n % 3}", 1)
        await States(log, BY_STREAM, store).caught_up(position)
        assert (await verify(log, BY_STREAM, store)).different == ()


async def test_a_paused_projection_stands_still_until_it_is_resumed(log: Log, store: Store) -> None:
    states = States(log, BY_STREAM, store)
    async with asyncio.timeout(20), projecting(log, BY_STREAM):
        await states.caught_up(await pay(log, "a", 1))
        await store.pause("spent", paused=True)
        position = await pay(log, "a", 2)
        assert (await live_of(store, BY_STREAM)).position < position
        assert await states.state("order/a") == Spent(cents=1, events=1)
        await store.pause("spent", paused=False)
        await states.caught_up(position)
        assert await states.state("order/a") == Spent(cents=3, events=2)


async def test_a_new_version_is_built_beside_the_old_one(log: Log, store: Store) -> None:
    async with asyncio.timeout(20), projecting(log, BY_STREAM):
        await States(log, BY_STREAM, store).caught_up(await pay(log, "a", 1, 2))
    doubled = replace(BY_STREAM, version=2, fold=lambda s, e: spent(spent(s, e), e))
    states = States(log, doubled, store)
    async with asyncio.timeout(20), projecting(log, doubled):
        while (await live_of(store, doubled)).version == 1:
            await asyncio.sleep(0.01)
        await states.caught_up(await pay(log, "a", 4))
        assert await states.state("order/a") == Spent(cents=14, events=6)

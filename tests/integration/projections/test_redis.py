"""States in Redis: the behaviour of every store, and what becomes of them when Redis is away or empty."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from headwater.log.log import Log
from headwater.projections.projector import Projector
from headwater.projections.rebuild import verify
from headwater.projections.redis import RedisStates
from headwater.projections.states import States
from headwater.projections.stores import Store
from headwater.testing.contract import Site
from tests.contract.sites import MemorySite
from tests.integration.projections.shop import BY_STREAM, Spent, pay
from tests.integration.projections.test_folding import *  # noqa: F403  the same tests, with the store below
from tests.servers.redis import RedisServer


@pytest.fixture
def site() -> Site:
    return MemorySite()


@pytest.fixture
async def kept(redis_server: RedisServer) -> AsyncIterator[RedisStates]:
    states = RedisStates(redis_server.url)
    yield states
    await states.close()


@pytest.fixture
def store(log: Log, kept: RedisStates) -> Store:
    return kept(log)


async def test_a_redis_that_was_away_and_came_back_empty_costs_lag(
    log: Log, private_redis: RedisServer
) -> None:
    kept = RedisStates(private_redis.url)
    projection = replace(BY_STREAM, store=kept)
    projector = Projector(log, [projection], lease=1.0)
    states = States(log, projection)
    await projector.start()
    try:
        async with asyncio.timeout(30):
            await states.caught_up(await pay(log, "a", 1, 2))
            private_redis.kill()
            position = await pay(log, "a", 4)
            while not projector.failing:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(private_redis.start)
            while projector.failing:
                await asyncio.sleep(0.01)
            await states.caught_up(position)
            assert await states.state("order/a") == Spent(cents=7, events=3)
            assert (await verify(log, projection, kept(log))).different == ()
    finally:
        await projector.stop()
        await kept.close()

"""Spoiled states are mended: those of one aggregate, or all."""

from __future__ import annotations

import asyncio

from headwater.log.log import Log
from headwater.pipelines import PipelineService
from headwater.projections.open import store_for
from headwater.projections.projector import Projector
from headwater.projections.stores import Key
from tests.integration.pipelines.accounts import Balance, Drawn, Paid, accounts


async def spoiled(log: Log, service: PipelineService[Paid | Drawn, Balance], *names: str) -> None:
    """Their states are wrong, with nobody having noticed."""
    store = store_for(log)
    [at] = await store.checkpoints("accounts")
    taken = await store.take("accounts", at.generation, "spoiler", 1)
    assert taken is not None
    rows = await store.load("accounts", at.generation, [Key("default", f"account/{name}") for name in names])
    await store.save(taken, taken.position, [row._replace(state=b'{"cents":99}') for row in rows.values()])
    assert [(await service.projected(name)).cents for name in names] == [99] * len(names)


async def test_one_account_is_built_anew_by_its_worker_and_then_all_are(log: Log) -> None:
    pipeline = accounts()
    service = pipeline.on(log)
    for n in range(4):
        await service.store(f"a{n}", Paid(cents=n), Paid(cents=1))
    position = (await log.head()).position
    projector = Projector(log, pipeline.projections)
    await projector.start()
    await service.projected("a3", position=position)
    await service.states.caught_up(position)
    await projector.stop()
    await spoiled(log, service, "a1", "a2")
    projector = Projector(log, pipeline.projections)
    await projector.start()
    async with asyncio.timeout(10):
        await service.rebuild("a1", "none")
    assert [(await service.projected(f"a{n}")).cents for n in range(4)] == [1, 2, 99, 4]
    await projector.stop()
    compared = await service.rebuild_all()
    assert compared["accounts"].different == (Key("default", "account/a2"),)
    assert compared["turnover"].different == ()
    assert (await service.projected("a2")).cents == 3

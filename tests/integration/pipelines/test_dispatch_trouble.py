"""Accepted commands in trouble: none is in the way of another for longer than it must."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import CommandFailed, IdempotencyKeyReused
from headwater.log.log import Log
from headwater.log.port import Page, Query
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Balance, Draw, Drawn, Paid, Pay, accounts
from tests.integration.pipelines.dispatching import dispatcher, settled


async def test_a_key_stands_for_one_command_of_the_whole_pipeline(log: Log) -> None:
    service = accounts().on(log)
    await service.send("a", Pay(cents=1), key="k")
    with pytest.raises(IdempotencyKeyReused):
        await service.send("b", Pay(cents=1), key="k")
    await service.handle("c", Pay(cents=1), key="direct")
    await service.send("c", Pay(cents=2), key="direct")
    await service.send("c", Pay(cents=3), key="next")
    worker = dispatcher(accounts(), log)
    await worker.start()
    await settled(log)
    await worker.stop()
    assert [(await service.fetch(one)).state.cents for one in "abc"] == [1, 0, 4]


async def test_commands_without_events_leave_no_token_behind(log: Log, site: Site) -> None:
    service = accounts().on(log)
    for n in range(20):
        await service.send("a", Pay(cents=0) if n % 2 else Draw(cents=1), key=f"k{n}")
    async with Log(site.backend()) as other:
        workers = [dispatcher(accounts(), one) for one in (log, other)]
        for worker in workers:
            await worker.start()
        await settled(log)
        for worker in workers:
            await worker.stop()


async def test_a_refused_command_is_told_as_such_to_who_handles_it_under_its_key(log: Log) -> None:
    service = accounts().on(log)
    await service.send("a", Draw(cents=5), key="k")
    worker = dispatcher(accounts(), log)
    await worker.start()
    await settled(log)
    await worker.stop()
    with pytest.raises(CommandFailed, match="Poor: 0 is less than 5"):
        await service.handle("a", Draw(cents=5), key="k")


async def test_accounts_that_cannot_be_folded_wait_and_keep_no_other(log: Log) -> None:
    pipeline = accounts()
    service, fold = pipeline.on(log), pipeline.projection.fold

    def choosy(state: Balance, event: Paid | Drawn) -> Balance:
        if event.cents == 13:
            raise KeyError("thirteen")
        return fold(state, event)

    for n in range(20):
        await service.store(f"bad{n}", Paid(cents=13))
        await service.send(f"bad{n}", Pay(cents=1), key=f"bad{n}")
    await service.send("good", Pay(cents=1), key="good")
    object.__setattr__(pipeline.projection, "fold", choosy)
    worker = dispatcher(pipeline, log)
    await worker.start()
    async with asyncio.timeout(10):
        while (await service.fetch("good")).version == 0:
            await asyncio.sleep(0.02)
    assert any("thirteen" in why for why in worker.failing.values())
    object.__setattr__(pipeline.projection, "fold", fold)
    await worker.stop()
    mended = dispatcher(pipeline, log)
    await mended.start()
    await settled(log)
    await mended.stop()
    assert mended.failing == {}
    assert [(await service.fetch(f"bad{n}")).state.cents for n in range(20)] == [14] * 20


async def test_a_long_backlog_of_one_account_is_handled_as_fast_as_a_short_one(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, reads = accounts().on(log), 0
    backlog = 300
    await asyncio.gather(*[service.send("a", Pay(cents=1), key=f"k{n}") for n in range(backlog)])
    worker = dispatcher(accounts(), log)
    original = log.backend.read

    async def counted(query: Query) -> Page:
        nonlocal reads
        page = await original(query)
        reads += len(page.rows)
        return page

    monkeypatch.setattr(log.backend, "read", counted)
    await worker.start()
    await settled(log)
    await worker.stop()
    assert (await service.fetch("a")) == (Balance(cents=backlog), backlog)
    assert reads < 40 * backlog

"""Accepted commands: handled by workers, in order for each account, none lost, none twice."""

from __future__ import annotations

from headwater.log.log import Log
from headwater.pipelines import Command
from headwater.pipelines.events import CommandHandled, CommandRefused, CommandsSettled, command_stream
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Balance, Draw, Pay, accounts
from tests.integration.pipelines.dispatching import dispatcher, settled


async def test_commands_of_an_account_are_handled_in_their_order(log: Log, site: Site) -> None:
    """By two workers; each draw needs the payment before it."""
    pipeline = accounts()
    service = pipeline.on(log)
    for n in range(10):
        for account in ("a", "b", "c"):
            command: Command = Draw(cents=1) if n % 2 else Pay(cents=1)
            assert await service.send(account, command, key=f"{account}{n}")
            assert not await service.send(account, command, key=f"{account}{n}")
    async with Log(site.backend()) as other:
        workers = [dispatcher(pipeline, log), dispatcher(pipeline, other)]
        for worker in workers:
            await worker.start()
        await settled(log)
        for worker in workers:
            await worker.stop()
    for account in ("a", "b", "c"):
        assert (await service.fetch(account)) == (Balance(cents=0), 10)
        markers = [
            recorded.event.key
            async for recorded in log.stream(command_stream("accounts", account, "default"))
            if isinstance(recorded.event, CommandHandled)
        ]
        assert markers == [f"{account}{n}" for n in range(10)]


async def test_one_that_is_refused_lets_the_next_come(log: Log) -> None:
    service = accounts().on(log)
    worker = dispatcher(accounts(), log)
    await service.send("a", Draw(cents=5), key="too-much")
    await service.send("a", Pay(cents=5), key="pay")
    await worker.start()
    await settled(log)
    await worker.stop()
    events = [r.event async for r in log.stream(command_stream("accounts", "a", "default"))]
    assert [event.error for event in events if isinstance(event, CommandRefused)] == [
        "Poor: 0 is less than 5"
    ]
    assert (await service.fetch("a")).state == Balance(cents=5)


async def test_one_that_was_handled_at_once_meanwhile_is_settled(log: Log) -> None:
    service = accounts().on(log)
    await service.send("a", Pay(cents=5), key="k")
    assert (await service.handle("a", Pay(cents=5), key="k")).new
    await service.handle("b", Pay(cents=5), key="late")
    await service.send("b", Pay(cents=5), key="late")
    worker = dispatcher(accounts(), log)
    await worker.start()
    await settled(log)
    await worker.stop()
    assert [(await service.fetch(one)).version for one in ("a", "b")] == [1, 1]
    kinds = [type(r.event) async for r in log.stream(command_stream("accounts", "a", "default"))]
    assert kinds[-1] is CommandsSettled


async def test_what_a_dead_worker_had_claimed_is_handled_by_another(log: Log) -> None:
    service = accounts().on(log)
    for n in range(20):
        await service.send(f"a{n}", Pay(cents=1), key=f"k{n}")
    dead = dispatcher(accounts(), log)
    await dead.start()
    for task in [*dead._loops.tasks, *dead._busy]:  # it is gone without a word
        task.cancel()
    await log.backend.sweep(dead=[dead._holder])
    worker = dispatcher(accounts(), log)
    await worker.start()
    await settled(log)
    await worker.stop()
    assert [(await service.fetch(f"a{n}")).version for n in range(20)] == [1] * 20

"""Commands: once for a key, whoever sends them, in whatever trouble."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import CommandUnknown, IdempotencyKeyReused, OutcomeUnknown
from headwater.log.log import Log
from headwater.log.port import BatchUnknown
from headwater.pipelines import Command
from headwater.pipelines.commands import Handled
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Balance, Draw, Paid, Pay, Poor, accounts


async def test_a_command_counts_once_for_its_key(log: Log) -> None:
    service = accounts().on(log)
    assert await service.handle("a", Pay(cents=5), key="k1") == Handled("k1", 1, 1, True)
    assert await service.handle("a", Pay(cents=5), key="k1") == Handled("k1", 1, 1, False)
    assert await service.handle("a", Draw(cents=3), key="k2") == Handled("k2", 1, 2, True)
    assert (await service.fetch("a")).state == Balance(cents=2)
    assert (await service.fetch("a", version=1)).state == Balance(cents=5)
    with pytest.raises(IdempotencyKeyReused):
        await service.handle("a", Pay(cents=6), key="k1")
    with pytest.raises(IdempotencyKeyReused):
        await service.handle("b", Pay(cents=5), key="k1")
    assert (await service.of("other").handle("a", Pay(cents=9), key="k1")).new


async def test_one_without_events_is_remembered_too(log: Log) -> None:
    service = accounts().on(log)
    assert await service.handle("a", Pay(cents=0), key="k") == Handled("k", 0, 0, True)
    await service.handle("a", Pay(cents=7), key="other")
    assert await service.handle("a", Pay(cents=0), key="k") == Handled("k", 0, 0, False)


async def test_what_a_handler_refuses_is_raised_and_may_be_sent_again(log: Log) -> None:
    service = accounts().on(log)
    with pytest.raises(Poor):
        await service.handle("a", Draw(cents=1), key="k")
    await service.handle("a", Pay(cents=1), key="p")
    assert (await service.handle("a", Draw(cents=1), key="k")).new


async def test_an_unknown_command_is_refused(log: Log) -> None:
    class Close(Command):
        pass

    with pytest.raises(CommandUnknown, match="Close"):
        await accounts().on(log).handle("a", Close(), key="k")


async def test_many_at_once_from_several_logs(log: Log, site: Site) -> None:
    """Three processes' worth of clients send the same forty commands to one account."""
    async with Log(site.backend()) as second, Log(site.backend()) as third:
        services = [accounts().on(one) for one in (log, second, third)]
        answers = await asyncio.gather(
            *[service.handle("a", Pay(cents=1), key=f"k{n}") for n in range(40) for service in services]
        )
    assert sum(answer.new for answer in answers) == 40
    assert (await services[0].fetch("a")) == (Balance(cents=40), 40)


async def test_money_is_never_drawn_twice_in_a_storm(log: Log) -> None:
    service = accounts().on(log)
    await service.handle("a", Pay(cents=10), key="p")
    found = await service.handle_all([("a", Draw(cents=1), f"d{n}") for n in range(15)])
    beside = await asyncio.gather(
        *[service.handle("a", Draw(cents=1), key=f"d{n}") for n in range(15)], return_exceptions=True
    )
    assert sum(isinstance(one, Handled) for one in found) == 10
    assert sum(isinstance(one, Poor) for one in found) == 5
    assert all(isinstance(one, Handled | Poor) for one in beside)
    assert (await service.fetch("a")).state == Balance(cents=0)


async def test_an_answer_that_was_lost_is_found_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost after the commit: the same command again finds what it did."""
    service = accounts().on(log)
    append, lost = log.backend.append, 0

    async def losing(shard, calls):  # type: ignore[no-untyped-def]
        nonlocal lost
        outcomes = await append(shard, calls)
        if lost < 1:
            lost += 1
            raise BatchUnknown
        return outcomes

    monkeypatch.setattr(log.backend, "append", losing)
    try:
        await service.handle("a", Pay(cents=5), key="k")
    except OutcomeUnknown:
        assert not (await service.handle("a", Pay(cents=5), key="k")).new
    assert (await service.fetch("a")) == (Balance(cents=5), 1)


async def test_events_are_stored_once_for_a_key_and_read_with_their_envelopes(log: Log) -> None:
    service = accounts().on(log)
    for _ in range(2):
        await service.store("a", Paid(cents=1), Paid(cents=2), key="import-1", actor="Ann")
    stream = await service.events("a")
    assert [event.cents for event in stream] == [1, 2]
    assert (stream.version, [one.actor for one in stream.recorded]) == (2, ["Ann", "Ann"])
    assert accounts().folded(stream) == Balance(cents=3)
    at = stream.recorded[0].recorded_at
    assert (await service.fetch("a", at=at)).version == 2

"""Reactors: at least once for each event, in order for each account, with keys that do not change."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from headwater.log.log import Log
from headwater.pipelines import Pipeline, Reaction, Reactor
from headwater.pipelines.reactors import Reacting
from headwater.projections.open import store_for
from headwater.projections.stores import GO_ON
from tests.integration.pipelines.accounts import Balance, Drawn, Paid, accounts

GIVEN_UP = b'"due":4611686018427387904'


class Mail:
    """Where effects go."""

    def __init__(self, fails: int = 0, account: str = "bad") -> None:
        self.sent: list[tuple[str, str]] = []
        self.tried: Counter[str] = Counter()
        self.fails, self.account = fails, account

    async def react(self, event: Paid, reaction: Reaction) -> None:
        account = reaction.recorded.stream.id
        self.tried[reaction.key] += 1
        if account == self.account and self.tried[reaction.key] <= self.fails:
            raise ConnectionError("no answer")
        self.sent.append((account, f"{event.cents}"))

    def reactor(self, **options: object) -> Reactor:
        return Reactor(name="mail", events=(Paid,), react=self.react, backoff=0.02, **options)  # type: ignore[arg-type]


def part(pipeline: Pipeline[Paid | Drawn, Balance], log: Log) -> Reacting:
    return next(one for one in pipeline.parts(log) if isinstance(one, Reacting))


async def caught_up(log: Log, name: str = "reactor:accounts.mail") -> None:
    position = (await log.head()).position
    store = store_for(log)
    async with asyncio.timeout(30):
        while True:
            [at] = await store.checkpoints(name)
            parked = await store.parked(name, 1)
            waiting = [row for row in parked if row.asked or GIVEN_UP not in (row.state or b"")]
            if at.position >= position and not waiting:
                return
            await asyncio.sleep(0.02)


async def test_each_event_is_reacted_to_in_order_and_a_failing_account_keeps_no_other(log: Log) -> None:
    mail = Mail(fails=3)
    pipeline = accounts(mail.reactor())
    service = pipeline.on(log)
    for n in range(1, 6):
        for account in ("good", "bad"):
            await service.store(account, Paid(cents=n), Drawn(cents=1))
    running = part(pipeline, log)
    await running.start()
    await caught_up(log)
    await running.stop()
    for account in ("good", "bad"):
        assert [cents for who, cents in mail.sent if who == account] == ["1", "2", "3", "4", "5"]
    assert max(mail.tried.values()) == 4
    assert len(mail.tried) == 10


async def test_one_that_goes_on_failing_is_parked_until_it_is_asked_for_again(log: Log) -> None:
    mail = Mail(fails=1000)
    pipeline = accounts(mail.reactor(attempts=3))
    service = pipeline.on(log)
    for n in range(1, 4):
        await service.store("bad", Paid(cents=n))
        await service.store("good", Paid(cents=n))
    running = part(pipeline, log)
    await running.start()
    await caught_up(log)
    assert [who for who, _ in mail.sent] == ["good"] * 3
    assert max(mail.tried.values()) == 3
    [parked] = await store_for(log).parked(running.name, 1)
    assert "ConnectionError: no answer" in parked.error
    await service.store("bad", Paid(cents=4))
    mail.fails = 0
    assert await store_for(log).request(running.name, GO_ON) == 1
    await caught_up(log)
    await running.stop()
    assert [cents for who, cents in mail.sent if who == "bad"] == ["1", "2", "3", "4"]


async def test_one_that_dies_between_effect_and_checkpoint_does_it_again_under_the_same_key(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = Mail()
    pipeline = accounts(mail.reactor())
    await pipeline.on(log).store("a", Paid(cents=1))
    first = part(pipeline, log)
    died = asyncio.Event()

    async def dies(*_: object) -> None:
        died.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(first._store, "save", dies)
    await first.start()
    await died.wait()
    await first.stop()
    monkeypatch.undo()
    second = part(pipeline, log)
    await second.start()
    await caught_up(log)
    await second.stop()
    assert mail.sent == [("a", "1"), ("a", "1")]
    assert list(mail.tried.values()) == [2]


async def test_what_came_before_is_passed_over_and_a_rebuild_reacts_to_nothing(log: Log) -> None:
    mail = Mail()
    since = datetime.now(UTC) + timedelta(seconds=0.3)
    pipeline = accounts(mail.reactor(since=since))
    service = pipeline.on(log)
    await service.store("a", Paid(cents=1))
    await asyncio.sleep(max(0, (since - datetime.now(UTC)).total_seconds()))
    await service.store("a", Paid(cents=2))
    running = part(pipeline, log)
    await running.start()
    await caught_up(log)
    await service.rebuild()
    await caught_up(log)
    await running.stop()
    assert mail.sent == [("a", "2")]


async def test_an_error_that_no_database_takes_is_kept_as_far_as_it_can_be(log: Log) -> None:
    async def react(_: Paid, __: Reaction) -> None:
        raise ValueError("half a \ud83d character, a NUL \x00, and " + "much " * 1000)

    pipeline = accounts(Reactor(name="mail", events=(Paid,), react=react, attempts=1))
    await pipeline.on(log).store("a", Paid(cents=1))
    running = part(pipeline, log)
    await running.start()
    await caught_up(log)
    await running.stop()
    [parked] = await store_for(log).parked(running.name, 1)
    assert parked.error.startswith("ValueError: half a ? character, a NUL \\x00, and much")
    assert len(parked.error) < 600


async def test_an_account_that_failed_once_and_went_on_may_fail_again_later(log: Log) -> None:
    mail = Mail(fails=2)
    pipeline = accounts(mail.reactor())
    service = pipeline.on(log)
    running = part(pipeline, log)
    await running.start()
    for cents in ("1", "2", "3"):
        await service.store("bad", Paid(cents=int(cents)))
        await caught_up(log)
        assert mail.sent[-1] == ("bad", cents)
    await running.stop()
    assert list(mail.tried.values()) == [3, 3, 3]


async def test_those_that_are_given_up_keep_none_from_its_next_try(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.pipelines.reactors._WAITING", 3)
    tried = Counter[str]()

    async def react(event: Paid, reaction: Reaction) -> None:
        account = reaction.recorded.stream.id
        tried[account] += 1
        if account != "z" or tried[account] < 3:
            raise ConnectionError("no answer")

    pipeline = accounts(Reactor(name="mail", events=(Paid,), react=react, backoff=0.02, attempts=3))
    service = pipeline.on(log)
    running = part(pipeline, log)
    await running.start()
    for account in "abcd":
        await service.store(account, Paid(cents=1))
    await caught_up(log)
    await service.store("z", Paid(cents=1))
    await caught_up(log)
    await running.stop()
    assert tried == {"a": 3, "b": 3, "c": 3, "d": 3, "z": 3}

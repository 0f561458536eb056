"""Reactors in trouble: slow effects, and more failures than are read at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from headwater.errors import LogUnavailable
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.pipelines import Reaction, Reactor
from headwater.pipelines.reactors import Reacting
from headwater.projections.open import store_for
from headwater.projections.stores import GO_ON, Checkpoint, StateRow
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Paid, accounts


async def passed(log: Log) -> None:
    """Every event was reacted to, or has failed."""
    position = (await log.backend.tail(0)).position
    async with asyncio.timeout(30):
        while (await store_for(log).checkpoints("reactor:accounts.mail"))[0].position < position:
            await asyncio.sleep(0.02)


async def test_effects_that_outlast_the_lease_are_not_done_by_two(log: Log, site: Site) -> None:
    done: Counter[str] = Counter()

    async def slowly(_: Paid, reaction: Reaction) -> None:
        await asyncio.sleep(0.05)
        done[reaction.key] += 1

    reactor = Reactor(name="mail", events=(Paid,), react=slowly, concurrency=2)
    service = accounts(reactor).on(log)
    for n in range(40):
        await service.store(f"a{n}", Paid(cents=1))
    async with Log(site.backend()) as other:
        running = [Reacting(one, "accounts", "account", reactor, lease=0.3) for one in (log, other)]
        for one in running:
            await one.start()
        await passed(log)
        for one in running:
            await one.stop()
    assert list(done.values()) == [1] * 40


async def test_a_failed_event_is_not_passed_over_however_many_have_failed(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many failed accounts are read at once; those beyond still wait for their turn."""
    failing, sent = True, list[int]()

    async def send(event: Paid, _: Reaction) -> None:
        if failing:
            raise ConnectionError("no answer")
        sent.append(event.cents)

    mail = Reactor(name="mail", events=(Paid,), react=send, attempts=1)
    service, store = accounts(mail).on(log), store_for(log)
    await service.store("bad", Paid(cents=1))
    running = Reacting(log, "accounts", "account", mail, store=store)
    await running.start()
    await passed(log)

    async def none(*_: object, **__: object) -> list[StateRow]:
        return []

    monkeypatch.setattr(store, "parked", none)
    await service.store("bad", Paid(cents=2))
    await passed(log)
    assert sent == []
    monkeypatch.undo()
    failing = False
    await store.request(running.name, GO_ON)
    async with asyncio.timeout(10):
        while sent != [1, 2]:
            await asyncio.sleep(0.02)
    await running.stop()


async def test_a_reactor_passes_what_is_not_its_own_without_a_write_for_each(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Paid, __: Reaction) -> None:
        raise AssertionError("there is nothing to react to")

    mail, store, saved = Reactor(name="mail", events=(Paid,), react=nothing), store_for(log), 0
    save = store.save

    async def counted(at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        nonlocal saved
        saved += 1
        return await save(at, position, rows)

    monkeypatch.setattr(store, "save", counted)
    running = Reacting(log, "accounts", "account", mail, store=store)
    await running.start()
    for n in range(300):
        await log.append(Write(Stream("note", "n"), [RawEvent("noted", {"n": n})]))
    await passed(log)
    await running.stop()
    assert saved < 30


async def test_what_is_asked_while_the_last_try_is_under_way_is_done_when_it_has_failed(log: Log) -> None:
    """It was mended, somebody asked, and a try that had begun before failed: it had to be asked for again."""
    trying, told, mended, tries = asyncio.Event(), asyncio.Event(), False, 0

    async def send(_: Paid, __: Reaction) -> None:
        nonlocal tries
        tries += 1
        broken = not mended
        if tries == 2:
            trying.set()
            await told.wait()
        if broken:
            raise ConnectionError("no answer")

    mail = Reactor(name="mail", events=(Paid,), react=send, attempts=1)
    service, store = accounts(mail).on(log), store_for(log)
    await service.store("a", Paid(cents=1))
    running = Reacting(log, "accounts", "account", mail)
    await running.start()
    await passed(log)
    await store.request(running.name, GO_ON)
    await asyncio.wait_for(trying.wait(), 10)
    mended = True
    assert await store.request(running.name, GO_ON) == 1
    told.set()
    async with asyncio.timeout(10):
        while await store.parked(running.name, 1):
            await asyncio.sleep(0.02)
    await running.stop()
    assert tries == 3


async def test_effects_end_before_what_failed_beside_them_is_done_again(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was away for a moment ended the round, and the other effects of the page went on beside the next."""
    now, at_once, most = log.backend.now_us, 0, 0

    async def send(event: Paid, _: Reaction) -> None:
        nonlocal at_once, most
        if event.cents == 1:
            monkeypatch.setattr(log.backend, "now_us", away)
            raise ConnectionError("no answer")
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.5)
        at_once -= 1

    async def away() -> int:
        monkeypatch.setattr(log.backend, "now_us", now)
        raise LogUnavailable

    mail = Reactor(name="mail", events=(Paid,), react=send)
    service = accounts(mail).on(log)
    await service.store("bad", Paid(cents=1))
    await service.store("good", Paid(cents=2))
    running = Reacting(log, "accounts", "account", mail)
    await running.start()
    await asyncio.sleep(1.5)
    await running.stop()
    assert most == 1

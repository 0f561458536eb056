"""Hints through Redis arrive, and leave nothing behind."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import pytest

from headwater.errors import NotSupported, SettingRefused
from headwater.events.envelope import RawEvent, Stream
from headwater.log import redis_hints
from headwater.log.log import Log
from headwater.log.open import open_log
from headwater.log.write import Write
from tests.integration.redis.conftest import Connect, Open
from tests.servers.redis import RedisServer

NEVER = 3600.0


def placed() -> Write:
    return Write(Stream("order", "1"), [RawEvent("placed", 1)])


async def test_a_subscriber_hears_of_an_append_and_does_not_poll(
    redis_server: RedisServer, open_with: Open
) -> None:
    near, far = await open_with(redis_server.url, NEVER), await open_with(redis_server.url, NEVER)
    events = far.subscribe()
    async with asyncio.timeout(20):
        for position in range(1, 6):
            [_] = await near.append(placed())
            assert (await anext(events)).position == position


async def test_the_backend_is_not_asked_for_hints(redis_server: RedisServer, open_with: Open) -> None:
    log = await open_with(redis_server.url, 0.01)
    asked: list[object] = []
    type(log.backend.hints).wait, before = lambda *_: asked.append(1), type(log.backend.hints).wait  # type: ignore[assignment,method-assign,return-value]
    try:
        await log.append(placed())
        assert [event.position async for event in log.read()] == [1]
        events = log.subscribe()
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        await log.append(placed())
        await asyncio.wait_for(waiting, 10)
    finally:
        type(log.backend.hints).wait = before  # type: ignore[method-assign]
    assert not asked


async def test_a_hint_says_how_far_the_log_reaches(redis_server: RedisServer, connect: Connect) -> None:
    telling, waiting, other = (connect(redis_server.url) for _ in range(3))
    for hints in (waiting, other):
        assert await hints.wait(10) is None  # there may have been some before it listened
    telling.announce(0, 7)
    assert await waiting.wait(10) == 7
    assert await other.wait(10) == 7
    telling.announce(1, 9)
    assert await waiting.wait(10) is None


async def test_what_is_no_hint_has_the_log_looked_at(
    redis_server: RedisServer, connect: Connect, incarnation: UUID
) -> None:
    waiting = connect(redis_server.url)
    await waiting.wait(10)
    for words in (("at", "0:-3"), ("at", "0:" + "9" * 5000), ("other", "x")):
        redis_server.ask("XADD", stream(incarnation), "*", *words)
        async with asyncio.timeout(10):
            assert await waiting.wait(60) is None


async def test_announcements_in_a_burst_are_few_and_the_last_one_arrives(
    redis_server: RedisServer, connect: Connect, incarnation: UUID
) -> None:
    telling, waiting = connect(redis_server.url), connect(redis_server.url)
    await waiting.wait(10)
    for position in range(1, 10_001):
        telling.announce(0, position)
    heard = 0
    async with asyncio.timeout(10):
        while heard != 10_000:
            heard = await waiting.wait(10) or heard
    assert int(redis_server.ask("XLEN", stream(incarnation))) <= 2


async def test_a_group_goes_when_its_process_closes(
    redis_server: RedisServer, connect: Connect, incarnation: UUID
) -> None:
    staying, leaving = connect(redis_server.url), connect(redis_server.url)
    for hints in (staying, leaving):
        await hints.wait(10)
    assert redis_server.groups(stream(incarnation)) == 2
    await leaving.close()
    assert redis_server.groups(stream(incarnation)) == 1
    assert redis_server.ask("EXISTS", leaving._key(leaving._group)) == "0"


async def test_the_group_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not(
    redis_server: RedisServer, connect: Connect, incarnation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, dead = connect(redis_server.url), connect(redis_server.url)
    for hints in (living, dead):
        await hints.wait(10)
    assert dead._listening is not None
    dead._listening.cancel()
    redis_server.ask("DEL", dead._key(dead._group))  # as its time to live does
    assert 0 < int(redis_server.ask("TTL", living._key(living._group))) <= redis_hints._ALIVE
    await connect(redis_server.url).wait(10)
    await until(lambda: redis_server.groups(stream(incarnation)) == 2)
    living.announce(0, 3)
    assert await living.wait(10) == 3


async def test_who_finds_its_group_gone_makes_it_again(
    redis_server: RedisServer, connect: Connect, incarnation: UUID
) -> None:
    waiting, telling = connect(redis_server.url), connect(redis_server.url)
    await waiting.wait(10)
    redis_server.ask("XGROUP", "DESTROY", stream(incarnation), waiting._group)
    assert await waiting.wait(10) is None  # what it may have missed
    await until(lambda: redis_server.groups(stream(incarnation)) == 1)
    telling.announce(0, 5)
    assert await waiting.wait(10) == 5


async def test_logs_on_one_redis_do_not_hear_each_other(
    redis_server: RedisServer, connect: Connect, incarnation: UUID
) -> None:
    here, there = connect(redis_server.url), connect(redis_server.url)
    there.open(UUID(int=1))
    for hints in (here, there):
        await hints.wait(10)
    here.announce(0, 1)
    there.announce(0, 2)
    assert await here.wait(10) == 1
    assert await there.wait(10) == 2


def test_an_address_that_is_none_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_REDIS_URL", "http://ada:secret@redis")
    with pytest.raises(
        SettingRefused, match=r"HEADWATER_REDIS_URL is 'http://ada:\*\*\*@redis'. Set it to redis://"
    ):
        open_log("sqlite:///log.db")


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_REDIS_URL", "redis://redis")
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(NotSupported, match=r"pip install 'headwater\[redis\]'"):
        open_log("sqlite:///log.db")


async def test_a_log_in_memory_needs_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_REDIS_URL", "redis://nobody.invalid")
    async with open_log("memory:") as log:
        assert isinstance(log, Log)
        await log.append(placed())


def stream(incarnation: UUID) -> str:
    return f"headwater:{{{incarnation}}}:hints"


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)

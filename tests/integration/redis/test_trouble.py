"""Whatever becomes of Redis costs polls and one warning, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from headwater.log.log import Log
from headwater.testing.proxy import Proxy
from tests.integration.redis.conftest import Connect, Open
from tests.integration.redis.test_hints import NEVER, placed, until
from tests.integration.redis.worker import add, app
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer

POLL = 0.05


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What Redis was complained of."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("headwater.log.redis")
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


async def follow(near: Log, far: Log, count: int) -> None:
    """Append here, and see it there."""
    start = (await far.head()).position
    events = far.subscribe(await far.head())
    for position in range(start + 1, start + count + 1):
        await near.append(placed())
        assert (await anext(events)).position == position


@pytest.mark.parametrize("trouble", ["down", "wrong password", "unknown host"])
async def test_a_redis_that_cannot_be_had_costs_polls_and_one_warning_each(
    redis_server: RedisServer, open_with: Open, warnings: list[str], trouble: str
) -> None:
    redis = {
        "down": f"redis://127.0.0.1:{free_port()}",
        "wrong password": f"redis://:guessed@127.0.0.1:{redis_server.port}",
        "unknown host": "redis://:guessed@redis.invalid",
    }[trouble]
    near, far = await open_with(redis, POLL), await open_with(redis, POLL)
    async with asyncio.timeout(20):
        await follow(near, far, 5)
    assert len(warnings) == 2
    assert "the log is polled until it is back" in warnings[0]
    assert "guessed" not in "".join(warnings)


async def test_a_subscription_goes_on_while_redis_is_killed_and_comes_back_empty(
    private_redis: RedisServer, open_with: Open, warnings: list[str]
) -> None:
    near, far = await open_with(private_redis.url, POLL), await open_with(private_redis.url, POLL)
    async with asyncio.timeout(40):
        await follow(near, far, 3)
        private_redis.kill()
        await follow(near, far, 3)
        private_redis.start()
        await until(lambda: private_redis.ask("DBSIZE") != "0")
        await follow(near, far, 3)
    assert 1 <= len(warnings) <= 2


async def test_hints_come_again_after_redis_was_killed(private_redis: RedisServer, connect: Connect) -> None:
    telling, waiting = connect(private_redis.url), connect(private_redis.url)
    await waiting.wait(10)
    private_redis.kill()
    telling.announce(0, 1)
    private_redis.start()
    async with asyncio.timeout(20):
        heard, position = None, 1
        while heard is None:
            position += 1
            telling.announce(0, position)
            heard = await waiting.wait(0.2)
    assert heard > 1


async def test_hints_come_again_after_all_was_flushed(redis_server: RedisServer, connect: Connect) -> None:
    telling, waiting = connect(redis_server.url), connect(redis_server.url)
    await waiting.wait(10)
    redis_server.ask("FLUSHALL")
    assert await waiting.wait(10) is None
    telling.announce(0, 3)
    assert await waiting.wait(10) == 3


async def test_a_redis_that_has_stopped_answering_delays_no_append(
    private_redis: RedisServer, open_with: Open, warnings: list[str]
) -> None:
    near, far = await open_with(private_redis.url, POLL), await open_with(private_redis.url, POLL)
    await follow(near, far, 1)
    private_redis.signal(signal.SIGSTOP)
    async with asyncio.timeout(20):
        await follow(near, far, 5)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(20):
        await near.append(placed())
    assert loop.time() - started < 5
    await until(lambda: len(warnings) > 0)
    private_redis.signal(signal.SIGCONT)


async def test_a_connection_that_drops_is_made_again(redis_server: RedisServer, connect: Connect) -> None:
    async with Proxy("127.0.0.1", redis_server.port) as proxy:
        far = connect(f"redis://:{redis_server.password}@{proxy.host}:{proxy.port}")
        await far.wait(10)
        proxy.drop()
        telling = connect(redis_server.url)
        heard, position = None, 0
        async with asyncio.timeout(20):
            while heard is None:
                position += 1
                telling.announce(0, position)
                heard = await far.wait(0.1)
        await far.close()


async def test_closing_while_redis_is_away_is_quick(private_redis: RedisServer, open_with: Open) -> None:
    log = await open_with(private_redis.url, NEVER)
    waiting = asyncio.ensure_future(log.others(0))
    await until(lambda: private_redis.ask("DBSIZE") != "0")
    private_redis.signal(signal.SIGSTOP)
    started = asyncio.get_running_loop().time()
    waiting.cancel()
    await log.__aexit__(None, None, None)
    assert asyncio.get_running_loop().time() - started < 5
    private_redis.signal(signal.SIGCONT)


async def test_runs_go_on_in_another_process_while_redis_comes_and_goes(
    private_redis: RedisServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_REDIS_URL", private_redis.url)
    command = [sys.executable, "-m", "tests.integration.redis.worker", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert await asyncio.to_thread(worker.stdout.readline) == "ready\n"
        try:
            async with app.connect(url, worker=False) as hw, asyncio.timeout(40):

                async def some() -> None:
                    runs = [await hw.start(add, n) for n in range(5)]
                    assert [await run.result() for run in runs] == [n + 1 for n in range(5)]

                await some()
                private_redis.kill()
                await some()
                private_redis.start()
                await some()
        finally:
            worker.stdin.close()
        assert await asyncio.to_thread(worker.wait, 20) == 0

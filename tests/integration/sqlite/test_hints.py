"""Events of another process come soon."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.sqlite.hints import FileHints
from headwater.log.write import Write
from tests.integration.sqlite.conftest import Start


@pytest.mark.parametrize(("how", "limit"), [("sockets", 50), ("polling", 400)])
async def test_an_event_reaches_another_process(
    path: Path, log: Log, start: Start, how: str, limit: float
) -> None:
    count = 21
    async with log:
        follower = start("follow", path, count, how)
        assert follower.stdout is not None
        assert await asyncio.to_thread(follower.stdout.readline) == "ready\n"
        delays: list[float] = []
        for _ in range(count):
            await log.append(
                Write(Stream("order", "1"), [RawEvent("order.placed", {"at": time.monotonic()})])
            )
            delays.append(float(await asyncio.to_thread(follower.stdout.readline)))
    assert sorted(delays)[count // 2] < limit, delays


async def _no_version() -> int:
    raise AssertionError("nobody should poll")


async def test_a_hint_that_came_before_the_wait_ends_it(path: Path) -> None:
    waiting, telling = FileHints(path, _no_version), FileHints(path, _no_version)
    await waiting.wait(0)
    telling.announce(0, 1)
    async with asyncio.timeout(5):
        await waiting.wait(60)
    waiting.close()
    telling.close()
    assert not list(path.parent.iterdir())


async def test_the_socket_of_a_dead_process_is_removed_and_the_living_are_told(path: Path) -> None:
    waiting, telling = FileHints(path, _no_version), FileHints(path, _no_version)
    await waiting.wait(0)
    (living,) = (path.parent / "log.db-hints").iterdir()
    dead = living.with_name("1-dead")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(dead))
    telling.announce(0, 1)
    async with asyncio.timeout(5):
        await waiting.wait(60)
    assert not dead.exists()
    waiting.close()
    telling.close()


async def test_a_full_inbox_delays_nobody(path: Path) -> None:
    waiting, telling = FileHints(path, _no_version), FileHints(path, _no_version)
    await waiting.wait(0)
    started = time.monotonic()
    for position in range(2_000):
        telling.announce(0, position)
    assert time.monotonic() - started < 1
    waiting.close()
    telling.close()


async def test_a_path_too_long_for_a_socket_is_polled(path: Path) -> None:
    versions = iter([1, 1, 2])

    async def version() -> int:
        return next(versions)

    deep = path.with_name("x" * 120)
    hints = FileHints(deep, version)
    async with asyncio.timeout(5):
        await hints.wait(60)  # what is there was not looked at before
        await hints.wait(60)
    hints.close()
    assert not os.listdir(path.parent)

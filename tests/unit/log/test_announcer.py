"""Announcements: at once, few under load, the last one always."""

from __future__ import annotations

import asyncio

from headwater.log.announcer import Announcer


class Sink:
    def __init__(self) -> None:
        self.sent: list[tuple[float, int]] = []
        self.under_way = self.most = 0
        self.slow = 0.0

    async def send(self, shard: int, position: int) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.slow)
        self.under_way -= 1
        self.sent.append((asyncio.get_running_loop().time(), position))


async def test_a_few_in_a_row_go_at_once() -> None:
    sink = Sink()
    announcer = Announcer(sink.send)
    for position in range(1, 4):
        announcer.announce(0, position)
        for _ in range(10):
            await asyncio.sleep(0)
    assert [position for _, position in sink.sent] == [1, 2, 3]
    await announcer.close()


async def test_what_comes_while_one_is_under_way_goes_with_the_next() -> None:
    sink = Sink()
    sink.slow = 0.02
    announcer = Announcer(sink.send)
    announcer.announce(0, 1)
    await asyncio.sleep(0)
    for position in range(2, 500):
        announcer.announce(0, position)
    async with asyncio.timeout(5):
        while len(sink.sent) < 2:
            await asyncio.sleep(0.005)
    assert [position for _, position in sink.sent] == [1, 499]
    assert sink.most == 1
    await announcer.close()


async def test_under_load_they_are_apart() -> None:
    sink = Sink()
    announcer = Announcer(sink.send)
    loop = asyncio.get_running_loop()
    started = loop.time()
    position = 0
    while loop.time() - started < 0.2:
        announcer.announce(0, position := position + 1)
        await asyncio.sleep(0)
    await announcer.close()
    assert 8 <= len(sink.sent) <= 8 + 0.2 / 0.005 + 2

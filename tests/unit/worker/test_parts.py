"""A worker of several parts: started in order, stopped against it, and none left behind."""

import asyncio

import pytest

from headwater import Headwater, open_log
from headwater.engine.engine import Engine
from headwater.worker import Worker


class Beside:
    """A part that tells what was done to it."""

    def __init__(self, name: str, said: list[str], *, fails: str = "") -> None:
        self.name, self.said, self.fails = name, said, fails
        self.progress = {name: 1.0}
        self.failing = {name: fails} if fails else {}

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, what: str) -> None:
        self.said.append(f"{what} {self.name}")
        if self.fails == what:
            raise OSError(f"{self.name} cannot {what}")


async def test_parts_start_in_order_and_stop_against_it() -> None:
    said: list[str] = []
    async with open_log("memory:") as log:
        worker = Worker(Engine(Headwater("shop"), log), [Beside("a", said), Beside("b", said)])
        await worker.start()
        await asyncio.sleep(0)
        assert {"a", "b", "heartbeat", "dispatch"} <= set(worker.progress)
        await worker.stop()
        assert said == ["start a", "start b", "stop b", "stop a"]
        assert await log.backend.workers() == []


async def test_a_part_that_cannot_start_leaves_none_running() -> None:
    said: list[str] = []
    async with open_log("memory:") as log:
        worker = Worker(Engine(Headwater("shop"), log), [Beside("a", said), Beside("b", said, fails="start")])
        with pytest.raises(OSError, match="b cannot start"):
            await worker.start()
        assert said == ["start a", "start b", "stop a"]
        assert await log.backend.workers() == []


async def test_a_part_that_cannot_stop_does_not_keep_the_others_from_it() -> None:
    said: list[str] = []
    async with open_log("memory:") as log:
        worker = Worker(Engine(Headwater("shop"), log), [Beside("a", said), Beside("b", said, fails="stop")])
        await worker.start()
        with pytest.raises(OSError, match="b cannot stop"):
            await worker.stop()
        assert said[-2:] == ["stop b", "stop a"]
        assert await log.backend.workers() == []

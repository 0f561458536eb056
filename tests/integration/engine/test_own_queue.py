"""A queued step whose run is owned by the worker that executes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headwater import Headwater
from headwater.engine.options import EngineOptions
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.port import Call, Outcome
from headwater.runs.events import registry_of

app = Headwater("room")
BODIES: list[int] = []
"""The steps whose bodies have ended."""


@app.step(queue="narrow")
async def passing(number: int) -> int:
    BODIES.append(number)
    return number


@app.workflow
async def many(count: int) -> int:
    return sum(await asyncio.gather(*[passing(number) for number in range(count)]))


class HeldBack(MemoryBackend):
    """A log that takes no results of steps until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.lets = asyncio.Event()

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        if any(row.type == "step_completed" for call in calls for write in call.writes for row in write.rows):
            await self.lets.wait()
        return await super().append(shard, calls)


async def test_a_worker_sees_the_result_of_its_own_queued_step_without_a_poll() -> None:
    BODIES.clear()
    backend = HeldBack()
    options = EngineOptions(queues={"narrow": 2}, poll=3600)
    async with (
        Log(backend, registry_of(app)) as log,
        app.connect(log=log, worker=True, options=options) as hw,
    ):
        run = await hw.start(many, 1)
        async with asyncio.timeout(10):
            while not BODIES:
                await asyncio.sleep(0.01)
        backend.lets.set()
        assert await run.result(timeout=10) == 0

"""The program that is measured: an app, as a user writes it."""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel

from headwater import Headwater, current_step

app = Headwater("bench")
TIMES: list[float] = []
"""When each step of `many` ran, in this process."""
QUEUE = "bench"


class Go(BaseModel):
    """What a waiting run waits for."""

    by: str = "bench"


@app.step
async def number(n: int) -> int:
    return n


@app.workflow
async def ten(n: int) -> int:
    total = 0
    for each in range(10):
        total += await number(each)
    return total + n


@app.workflow
async def one(n: int) -> int:
    return await number(n)


@app.step
async def timed(n: int) -> int:
    TIMES.append(time.perf_counter())
    return n


@app.workflow
async def many(steps: int) -> int:
    for each in range(steps):
        await timed(each)
    return steps


@app.workflow
async def storm(timers: int, delay: float) -> int:
    await asyncio.gather(*[asyncio.sleep(delay) for _ in range(timers)])
    return timers


@app.workflow
async def wait_after(steps: int) -> int:
    for each in range(steps):
        await number(each)
    await app.hook(Go, token=f"go:{app.run_id}")
    return steps


@app.step
async def stuck_once() -> int:
    """Never ends at the first attempt; its worker has to die."""
    attempt = current_step().attempt
    if attempt == 1:
        await asyncio.sleep(600)
    return attempt


@app.workflow
async def interrupted() -> int:
    await number(1)
    attempt = await stuck_once()
    await number(2)
    return attempt


@app.step(queue=QUEUE)
async def elsewhere(n: int) -> int:
    await asyncio.sleep(0.01)
    return n


@app.workflow
async def fan(steps: int) -> int:
    return len(await asyncio.gather(*[elsewhere(n) for n in range(steps)]))

"""The app of these tests: small workflows that meet trouble. Workers in other processes load it by name."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from headwater import FatalError, Headwater, current_step

app = Headwater("shop")
EFFECTS = os.environ.get("EFFECTS", "")


def effect(what: str) -> None:
    """Leave a trace outside: one line for each time it happens."""
    if EFFECTS:
        with Path(EFFECTS).open("a") as file:
            file.write(f"{what} {current_step().key} {current_step().attempt} {os.getpid()}\n")


@app.step
async def add(a: int, b: int) -> int:
    effect("add")
    return a + b


@app.step
async def slow(seconds: float) -> int:
    effect("slow")
    await asyncio.sleep(seconds)
    return os.getpid()


@app.step
async def block(seconds: float) -> int:
    effect("block")
    times = len(Path(EFFECTS).read_text().splitlines())
    if times == 1:
        time.sleep(seconds)  # the mistake
    return times


@app.step(queue="far")
async def far(number: int, seconds: float = 0) -> int:
    effect("far")
    await asyncio.sleep(seconds)
    return number


@app.step
async def kill_the_worker() -> None:
    effect("kill")
    os.kill(os.getpid(), signal.SIGKILL)


@app.step(at_most_once=True)
async def once(seconds: float) -> str:
    effect("once")
    await asyncio.sleep(seconds)
    return "done"


@app.step
async def unstorable() -> float:
    return float("nan")


@app.step
async def refuse() -> None:
    raise FatalError("never")


@app.workflow
async def sums(number: int) -> int:
    total = 0
    for n in range(number):
        total = await add(total, n)
    return total


@app.workflow
async def sleepy(number: int, seconds: float) -> list[int]:
    return [await slow(seconds) for _ in range(number)]


@app.workflow
async def blocked(seconds: float) -> int:
    return await block(seconds)


@app.workflow
async def fan(number: int, seconds: float) -> int:
    return sum(await asyncio.gather(*[far(n, seconds) for n in range(number)]))


@app.workflow
async def killer() -> None:
    await kill_the_worker()


@app.workflow
async def careful(seconds: float) -> str:
    return await once(seconds)


@app.workflow
async def nonsense() -> float:
    return await unstorable()


@app.workflow
async def approval(token: str) -> str:
    said = await app.hook(str, token=token)
    await add(1, 1)
    return said


@app.workflow
async def chat(token: str, number: int) -> list[str]:
    hook = app.hook(str, token=token)
    heard: list[str] = []
    async for line in hook:
        heard.append(line)
        await add(len(heard), 0)
        if len(heard) == number:
            hook.close()
    return heard


@app.workflow
async def naps(number: int, seconds: float) -> int:
    for _ in range(number):
        await asyncio.sleep(seconds)
    return number


@app.workflow
async def tidy(seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await add(40, 2)

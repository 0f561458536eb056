"""From the call of `append` to the commit of the state with the event, by a projector in another process."""

from __future__ import annotations

import asyncio
import json
import random
import time
from functools import partial
from statistics import median, quantiles

from bench.harness import Case, Result, Scale
from bench.orders import stream
from bench.places import Places
from bench.projections.domain import Sent, address_on
from bench.projections.other import other_process
from headwater import Write, open_log

UNIT = "ms"
GOALS = {"p50": 10, "p99": 50}
PAUSE = 0.01


async def _measure(places: Places, scale: Scale, *, backend: str, which: str) -> Result:
    address, count = await address_on(places, backend), max(scale.events // 10, 300)
    chance = random.Random(0)
    async with (
        open_log(address, Sent) as log,
        other_process("bench.projections.follower", address, str(count)) as out,
    ):
        for _ in range(count):
            await asyncio.sleep(PAUSE * (0.5 + chance.random()))
            await log.append(Write(stream(1), [Sent(at=time.monotonic_ns())]))
        async with asyncio.timeout(60):
            taken = [ns / 1e6 for ns in json.loads(await out.readline())]
    ours = {"p50": median(taken), "p99": quantiles(taken, n=100, method="inclusive")[98]}
    goal = GOALS[which]
    return Result(UNIT, str(goal), ours[which], reached=ours[which] <= goal, also={"events": count, **ours})


CASES = [
    Case(f"{backend}.lag_{which}_ms", str(goal), UNIT, partial(_measure, backend=backend, which=which))
    for backend in ("postgres", "sqlite")
    for which, goal in GOALS.items()
]

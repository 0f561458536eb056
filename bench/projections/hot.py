"""One stream of 26,000 events that arrive one by one, each folded before the next: what the last 1,000 take, over what
the first 1,000 take. A projection that reads its stream anew would show a number that grows with the stream."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

from bench.harness import Case, Result, Scale
from bench.orders import ORDERS, OrderPlaced, stream
from bench.places import Places
from bench.projections.domain import address_on, folding_of
from headwater import Write, open_log
from headwater.projections.open import store_for

GOAL = "1.2"
UNIT = "last 1,000 over first"
EVENTS, PART = 26_000, 1_000


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    events = min(EVENTS, scale.events * 2)
    async with open_log(await address_on(places, backend), OrderPlaced) as log:
        folding = await folding_of(log, store_for(log), "hot")
        taken: list[float] = []
        for number in range(PART + events):  # the first part warms up
            started = time.perf_counter()
            await log.append(Write(stream(int(number >= PART)), [ORDERS[number % len(ORDERS)]]))
            while await folding.step():
                pass
            taken.append(time.perf_counter() - started)
        await folding.release()
    first, last = taken[PART : 2 * PART], taken[-PART:]
    ratio = median(last) / median(first)
    also = {"events": events, "first_ms": median(first) * 1e3, "last_ms": median(last) * 1e3}
    return Result(UNIT, GOAL, ratio, reached=ratio <= 1.2, also=also)


CASES = [
    Case(f"{backend}.hot_stream", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

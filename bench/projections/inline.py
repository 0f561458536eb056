"""What it costs to have the new state written with the events: stores a second through a pipeline whose projection is
inline, over those through one whose projection follows the log. 32 callers, an aggregate each."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from bench.harness import Case, Result, Scale
from bench.orders import ORDERS, OrderPlaced
from bench.places import Places
from bench.projections.domain import Bought, address_on, bought
from headwater import open_log
from headwater.pipelines.pipeline import Pipeline
from headwater.projections.rebuild import live_of

GOAL, UNIT = "0.4", "of the rate without"
CALLERS = 32


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    each = max(scale.events // 1_000, 30)
    rates = {inline: await _rate(places, backend, each, inline=inline) for inline in (False, True)}
    ratio = rates[True] / rates[False]
    also = {"events": each * CALLERS, "without_per_s": rates[False], "inline_per_s": rates[True]}
    return Result(UNIT, GOAL, ratio, reached=ratio >= 0.4, also=also)


async def _rate(places: Places, backend: str, each: int, *, inline: bool) -> float:
    pipeline: Pipeline[OrderPlaced, Bought] = Pipeline(
        name="bought",
        aggregate_type="order",
        events=(OrderPlaced,),
        state=Bought,
        initial=Bought(),
        fold=bought,
        inline=inline,
    )
    async with open_log(await address_on(places, backend), OrderPlaced) as log:
        await live_of(pipeline.projection.store(log), pipeline.projection)
        service = pipeline.on(log)

        async def store(caller: int) -> None:
            for number in range(each):
                await service.store(f"o-{caller}", ORDERS[number % len(ORDERS)])

        await asyncio.gather(*[store(caller) for caller in range(CALLERS)])  # warms up
        started = time.perf_counter()
        await asyncio.gather(*[store(caller) for caller in range(CALLERS)])
        return each * CALLERS / (time.perf_counter() - started)


CASES = [
    Case(f"{backend}.inline", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

"""A thousand queued steps of ten milliseconds, gathered: over two worker processes against one.

Each worker executes eight at once. `gap_ms` is the longest time, by the log's clock, in which no step ended.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from statistics import median

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.workflows.places import Site, site, size
from bench.workflows.processes import worker
from bench.workflows.program import app, fan
from headwater.client import Client
from headwater.events.clock import to_us
from headwater.runs.events import StepCompleted

UNIT = "steps/s"
GOAL = "1.7 times one worker, no gap over 20 ms"
AT_ONCE = 8
NOT_YET = "queued steps are not executed yet: one was not done after ten seconds"


async def _longest_gap(hw: Client, run: str) -> float:
    times = [to_us(r.recorded_at) async for r in hw.history(run) if isinstance(r.event, StepCompleted)]
    return max((b - a for a, b in pairwise(times)), default=0) / 1000


async def _sample(at: Site, workers: int, steps: int) -> tuple[float, float] | None:
    """Steps a second, and the longest gap; None when a single step is not done in time."""
    async with AsyncExitStack() as exits:
        for _ in range(workers):
            await exits.enter_async_context(worker(at.url, queue=AT_ONCE))
        hw = await exits.enter_async_context(app.connect(at.url, worker=False))
        try:
            await (await hw.start(fan, 1)).result(timeout=10)
        except TimeoutError:
            return None
        await (await hw.start(fan, 4 * AT_ONCE)).result(timeout=60)
        started = time.perf_counter()
        run = await hw.start(fan, steps)
        async with asyncio.timeout(120):
            assert await run.result() == steps
        return steps / (time.perf_counter() - started), await _longest_gap(hw, run.id)


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    steps = size(scale, 1000, least=50)
    at = await site(places, backend)
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for _ in range((scale.rounds + 1) // 2):
        alone, both = await _sample(at, 1, steps), await _sample(at, 2, steps)
        if alone is None or both is None:
            return Result(UNIT, GOAL, note=NOT_YET)
        pairs.append((alone, both))
    ratio = median(both[0] / alone[0] for alone, both in pairs)
    gap = median(both[1] for _, both in pairs)
    return Result(
        UNIT,
        GOAL,
        ours=median(both[0] for _, both in pairs),
        limit=2 * AT_ONCE / 0.01,
        vs_limit=median(both[0] for _, both in pairs) / (2 * AT_ONCE / 0.01),
        reached=ratio >= 1.7 and gap <= 20,
        also={"one_worker": median(alone[0] for alone, _ in pairs), "vs_one_worker": ratio, "gap_ms": gap},
    )


CASES = [Case("postgres.fanout", GOAL, UNIT, partial(_measure, backend="postgres"))]

"""A worker's memory and start-up with many runs that wait and are in nobody's memory, against none.

Start-up is from the making of its process to the result of a first run.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from statistics import median

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.workflows.places import Site, site, size
from bench.workflows.processes import worker
from bench.workflows.program import app, one, wait_after
from headwater.client import Client

UNIT = "ratio"
GOAL = "memory at most 1.1, start-up at most 1.2"
_BATCH = 500


async def _fill(at: Site, runs: int) -> None:
    """Runs that wait, all let go of."""
    async with app.connect(at.url, worker=True) as hw:
        made = 0
        while made < runs:
            count = min(_BATCH, runs - made)
            await hw.start_all({f"waiting-{made + n}": wait_after.bind(0) for n in range(count)})
            made += count
            await _let_go(hw)


async def _let_go(hw: Client) -> None:
    async with asyncio.timeout(60):
        while hw.engine.runs:
            for active in [a for a in hw.engine.runs.values() if a.notes.hooks and a.quiet]:
                hw.engine.let_go(active)
            await asyncio.sleep(0.01)


async def _start_up(at: Site) -> tuple[float, float]:
    """Seconds, and MiB a little later."""
    async with app.connect(at.url, worker=False) as hw:
        run = await hw.start(one, 1)
        started = time.perf_counter()
        async with worker(at.url) as running:
            await run.result()
            taken = time.perf_counter() - started
            await asyncio.sleep(1)
            return taken, running.memory()


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    empty, full = await site(places, backend), await site(places, backend)
    runs = 100_000 if scale == Scale.full() else size(scale, 20_000, least=500)
    await _fill(empty, 1)
    await _fill(full, runs)
    pairs = [(await _start_up(empty), await _start_up(full)) for _ in range((scale.rounds + 1) // 2)]
    start_up = median(b[0] / a[0] for a, b in pairs)
    memory = median(b[1] / a[1] for a, b in pairs)
    return Result(
        UNIT,
        GOAL,
        ours={"memory": memory, "start_up": start_up},
        reached=memory <= 1.1 and start_up <= 1.2,
        also={
            "runs": runs,
            "mib": {"none": median(a[1] for a, _ in pairs), "waiting": median(b[1] for _, b in pairs)},
            "start_up_s": {"none": median(a[0] for a, _ in pairs), "waiting": median(b[0] for _, b in pairs)},
        },
    )


CASES = [
    Case(f"{backend}.waiting_runs", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

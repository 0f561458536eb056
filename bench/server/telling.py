"""What it costs that a worker counts, and could tell, when nobody asks."""

from __future__ import annotations

import time
from statistics import median
from unittest.mock import patch

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.server.program import app, one
from bench.workflows.places import size
from headwater.telemetry.counts import Counter, Histogram

_GOAL = 1.02


async def off_cost(_: Places, scale: Scale) -> Result:
    """The same runs in memory, as they are and with all counting left out, in turn."""
    runs = size(scale, 200, least=100)
    ratios: list[float] = []
    async with app.connect("memory:") as hw:

        async def counted(name: str) -> float:
            began = time.perf_counter()
            handles = await hw.start_all({f"{name}-{n}": one.bind(n) for n in range(runs)})
            for handle in handles:
                await handle.result()
            return time.perf_counter() - began

        async def bare(name: str) -> float:
            with patch.object(Counter, "add", _nothing), patch.object(Histogram, "observe", _nothing):
                return await counted(name)

        await counted("warm")
        for n in range(scale.rounds * 20):
            sides = [counted, bare] if n % 2 else [bare, counted]
            taken = {side: await side(f"{side.__name__}-{n}") for side in sides}
            ratios.append(taken[counted] / taken[bare])
    ours = median(ratios)
    return Result("ratio", str(_GOAL), ours, reached=ours <= _GOAL)


def _nothing(*_: object, **__: object) -> None:
    pass


CASES = [Case("telemetry.off_cost", str(_GOAL), "ratio", off_cost)]

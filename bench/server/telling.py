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
    runs = size(scale, 2000, least=200)
    ratios: list[float] = []
    async with app.connect("memory:") as hw:

        async def sample(round: str) -> float:
            began = time.perf_counter()
            handles = await hw.start_all({f"{round}-{n}": one.bind(n) for n in range(runs)})
            for handle in handles:
                await handle.result()
            return time.perf_counter() - began

        await sample("warm")
        for n in range(scale.rounds * 3):
            counted = await sample(f"a{n}")
            with patch.object(Counter, "add", _nothing), patch.object(Histogram, "observe", _nothing):
                bare = await sample(f"b{n}")
            ratios.append(counted / bare)
    ours = median(ratios)
    return Result("ratio", str(_GOAL), ours, reached=ours <= _GOAL)


def _nothing(*_: object, **__: object) -> None:
    pass


CASES = [Case("telemetry.off_cost", str(_GOAL), "ratio", off_cost)]

"""How fast worlds are lived through, on one core: what a night of simulation amounts to.

`simulations` is worlds a second on memory (both modes in turn), `virtual_hours` their time in a minute of ours. There
is no bare limit and no peer: no Python engine has a simulator. The case on SQLite says what the real file costs.
"""

from __future__ import annotations

import asyncio
from functools import partial
from statistics import median

from bench.harness import Case, Result, Scale
from bench.places import Places
from headwater.testing.simulation import Setup, Swept, sweep
from headwater.testing.simulation.storage import Kept


def _live(kept: Kept, first: int, worlds: int) -> Swept:
    swept = sweep(Setup(first + n, "shuffled" if n % 2 else "fifo", kept) for n in range(worlds))
    if swept.failures:
        raise AssertionError(swept.failures[0].report)
    return swept


async def _measure(_: Places, scale: Scale, *, kept: Kept, hours: bool) -> Result:
    worlds = scale.events // (100 if kept == "memory" else 400)
    await asyncio.to_thread(_live, kept, 0, 2)  # imports and templates
    samples = [await asyncio.to_thread(_live, kept, n * worlds, worlds) for n in range(scale.rounds)]
    unit = "virtual hours/minute" if hours else "worlds/s"
    ours = median(s.virtual_hours_per_minute if hours else s.per_second for s in samples)
    return Result(unit, "none", ours=ours, note=f"{worlds} worlds a round")


CASES = [
    Case("simulations", "none", "worlds/s", partial(_measure, kept="memory", hours=False)),
    Case("virtual_hours", "none", "virtual hours/minute", partial(_measure, kept="memory", hours=True)),
    Case("sqlite.simulations", "none", "worlds/s", partial(_measure, kept="sqlite", hours=False)),
]

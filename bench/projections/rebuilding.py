"""All states of a million events in 50,000 streams, built anew by another process while this one goes on appending.

`append_alone` (before it and after it) and `append_during` are events a second of one caller; `slowed` is the share
that is lost meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial

from bench.harness import Case, Result, Scale
from bench.log.append import appends
from bench.places import Places
from bench.projections.domain import address_on, filled
from bench.projections.other import other_process

UNIT = "s"
GOAL = "30; memory flat; appends slowed by less than 20%"
EVENTS, STREAMS = 1_000_000, 50_000
_SOME = 200


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    share = min(1.0, scale.events / 20_000)
    events, streams = int(EVENTS * share), int(STREAMS * share)
    address = await address_on(places, backend)
    async with filled(address, events, streams) as log:
        await appends(log, _SOME, 1)
        before = await appends(log, 10 * _SOME, 1)
        async with other_process("bench.projections.rebuilder", address) as out:
            answer = asyncio.create_task(out.readline())
            rates: list[float] = []
            while not answer.done():
                rates.append(await appends(log, _SOME, 1))
            found = json.loads(await answer)
        alone = _mean([before, await appends(log, 10 * _SOME, 1)])
    during = _mean(rates)
    seconds, slowed = found.pop("seconds") / share, 1 - during / alone
    flat = found["memory_end_mb"] <= 1.3 * found["memory_quarter_mb"]
    return Result(
        UNIT,
        GOAL,
        seconds,
        reached=seconds <= 30 and flat and slowed < 0.2,
        also={**found, "events": events, "append_alone": alone, "append_during": during, "slowed": slowed},
        note="" if share == 1 else "scaled up from fewer events",
    )


def _mean(rates: Sequence[float]) -> float:
    """Of the same number of events each."""
    return len(rates) / sum(1 / rate for rate in rates)


CASES = [
    Case(f"{backend}.rebuild_1m_s", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

"""Runs with long histories: a step must not cost more at the end, nor a timer for having many neighbours."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from statistics import median

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.workflows.places import Site, site, size
from bench.workflows.program import TIMES, Go, app, many, storm, wait_after
from headwater.client import Client
from headwater.events.clock import to_us
from headwater.runs.events import RunCompleted, WaitCreated

BACKENDS = ("postgres", "sqlite")
FLAT = "at most 1.2"
REPLAY = 50_000


async def _long_history(places: Places, scale: Scale, *, backend: str) -> Result:
    """The time of the last tenth of the steps over that of the first."""
    at = await site(places, backend)
    steps = size(scale, 5000, least=100)
    window = steps // 10
    ratios: list[float] = []
    lasts: list[float] = []
    async with app.connect(at.url, worker=True) as hw:
        await (await hw.start(many, window)).result()
        for _ in range((scale.rounds + 1) // 2):
            TIMES.clear()
            assert await (await hw.start(many, steps)).result() == steps
            first = TIMES[window] - TIMES[0]
            last = TIMES[-1] - TIMES[-1 - window]
            ratios.append(last / first)
            lasts.append(last / window * 1000)
    ratio = median(ratios)
    return Result(
        "ratio", FLAT, ours=ratio, reached=ratio <= 1.2, also={"steps": steps, "ms_a_step": median(lasts)}
    )


async def _storm(hw: Client, timers: int, delay: float) -> float:
    """Microseconds a timer, from the moment that all are due to the end of their run, by the log's clock."""
    while True:
        run = await hw.start(storm.bind(timers, delay))
        assert await run.result() == timers
        due, set_at, ended = 0, 0, 0
        async for recorded in hw.history(run.id):
            match recorded.event:
                case WaitCreated(until=until):
                    due, set_at = max(due, to_us(until)), to_us(recorded.recorded_at)
                case RunCompleted():
                    ended = to_us(recorded.recorded_at)
                case _:
                    pass
        if set_at < due:
            return (ended - due) / timers
        delay *= 3  # they were due before all were set


async def _wait_storm(places: Places, scale: Scale, *, backend: str) -> Result:
    """The time of a timer among many over that of one among a tenth as many."""
    at = await site(places, backend)
    timers = size(scale, 10_000, least=100)
    async with app.connect(at.url, worker=True) as hw:
        delay = 0.5 + timers / 4000
        pairs = [
            (await _storm(hw, timers // 10, delay / 2), await _storm(hw, timers, delay))
            for _ in range((scale.rounds + 1) // 2)
        ]
    ratio = median(large / small for small, large in pairs)
    shown = {"few": median(small for small, _ in pairs), "many": median(large for _, large in pairs)}
    return Result(
        "ratio", FLAT, ours=ratio, reached=ratio <= 1.2, also={"timers": timers, "us_a_timer": shown}
    )


async def _taken_up(at: Site, run: str) -> float:
    """Seconds of a worker that is new, from its start to the end of a run that has been sent what it waits for."""
    async with app.connect(at.url, worker=False) as hw:
        await hw.send(f"go:{run}", Go())
    started = time.perf_counter()
    async with app.connect(at.url, worker=True) as hw:
        await hw.handle(run, wait_after).result()
        return time.perf_counter() - started


async def _waiting(hw: Client, steps: int) -> tuple[str, int]:
    """A run with a history, which waits now; and how many events it has."""
    run = await hw.start(wait_after, steps)
    active = hw.engine.runs[hw.tenant, run.id]
    while not (active.notes.hooks and active.quiet):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return run.id, active.version


async def _replay(places: Places, scale: Scale, *, backend: str) -> Result:
    """Events a second, of a run that waits: claimed, read, replayed; enrolling and the last write are in the time."""
    at = await site(places, backend)
    steps = size(scale, 5000, least=100)
    rates: list[float] = []
    events = 0
    for _ in range((scale.rounds + 1) // 2):
        async with app.connect(at.url, worker=True) as hw:
            run, events = await _waiting(hw, steps)
        rates.append(events / await _taken_up(at, run))
    ours = median(rates)
    return Result(
        "events/s", f"{REPLAY:,} a second", ours=ours, reached=ours >= REPLAY, also={"events": events}
    )


CASES = [
    *[Case(f"{b}.long_history", FLAT, "ratio", partial(_long_history, backend=b)) for b in BACKENDS],
    *[Case(f"{b}.wait_storm", FLAT, "ratio", partial(_wait_storm, backend=b)) for b in BACKENDS],
    *[Case(f"{b}.replay", f"{REPLAY:,} a second", "events/s", partial(_replay, backend=b)) for b in BACKENDS],
]

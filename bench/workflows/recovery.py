"""Runs whose worker is killed in the middle of a step, while another worker lives: seconds until all are done.

The second worker comes when the first has all the runs. As on another host, where only the lease of five seconds tells
that a worker has died; and on the same host (`same_host`), where its process can be looked up.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.workflows.places import site, size
from bench.workflows.processes import worker
from bench.workflows.program import app, interrupted
from headwater import RunHandle
from headwater.client import Client
from headwater.log.cursor import Cursor
from headwater.runs.events import StepCompleted, StepFailed, StepStarted
from headwater.runs.rows import STREAM_TYPE

UNIT = "s"
LEASE = 5.0
MOST = 6.5
GOAL = f"at most {MOST}, with a lease of {LEASE:g} s"


async def _all_stuck(hw: Client, after: Cursor, runs: int) -> None:
    """Wait until so many runs are in the middle of their second step."""
    stuck: set[str] = set()
    async with asyncio.timeout(60):
        async for recorded in hw.log.subscribe(after, stream_types=(STREAM_TYPE,), types=("step_started",)):
            match recorded.event:
                case StepStarted(call=call) if call == 2:
                    stuck.add(recorded.stream.id)
                case _:
                    pass
            if len(stuck) == runs:
                return


async def _results(hw: Client, run: str) -> int:
    """How many results a run's steps have; each step has one."""
    events = [recorded.event async for recorded in hw.history(run)]
    ended = [event.call for event in events if isinstance(event, StepCompleted | StepFailed)]
    assert len(ended) == len(set(ended)), f"run {run} was given the result of a step twice: calls {ended}"
    return len(ended)


async def _recover(places: Places, backend: str, runs: int, *, elsewhere: bool) -> float:
    at = await site(places, backend)
    async with AsyncExitStack() as exits:
        hw = await exits.enter_async_context(app.connect(at.url, worker=False))
        after = await hw.log.head()
        first = await exits.enter_async_context(worker(at.url, lease=LEASE, elsewhere=elsewhere))
        started: list[RunHandle[int]] = [await hw.start(interrupted) for _ in range(runs)]
        await _all_stuck(hw, after, runs)
        await exits.enter_async_context(worker(at.url, lease=LEASE))
        first.kill()
        killed = time.perf_counter()
        async with asyncio.timeout(60):
            results = await asyncio.gather(*[run.result() for run in started])
        taken = time.perf_counter() - killed
        assert results == [2] * runs, f"not every run went on with a second attempt: {results}"
        assert sum([await _results(hw, run.id) for run in started]) == 3 * runs
    return taken


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    runs = size(scale, 100, least=20)
    here = await _recover(places, backend, runs, elsewhere=False)
    there = await _recover(places, backend, runs, elsewhere=True)
    return Result(
        UNIT, GOAL, ours=there, reached=there <= MOST, also={"same_host": here, "runs": runs, "lease": LEASE}
    )


CASES = [
    Case(f"{backend}.recovery", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

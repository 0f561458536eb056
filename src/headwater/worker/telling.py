"""What a worker tells of itself: its metrics, and whether it is well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Final

from headwater.engine.health import health
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD
from headwater.telemetry.answering import Text, Texts
from headwater.telemetry.counts import MEDIA, Family, gauge_lines
from headwater.worker.parts import Worker

_OWNED: Final = Family("headwater_runs_owned", "Runs in this worker's memory.", "gauge")
_HEALTHY: Final = Family("headwater_worker_healthy", "Whether all its loops get on: 1 or 0.", "gauge")
_AGE: Final = Family("headwater_loop_age_seconds", "Since a loop last went round.", "gauge", ("loop",))
_LAG: Final = Family(
    "headwater_projection_lag", "Positions that a projection is behind the log.", "gauge", ("projection",)
)
_POSITION: Final = Family("headwater_log_position", "The last position of the log.", "gauge")
_APPENDED: Final = Family("headwater_log_appended_total", "Events that this process has appended.", "counter")
_BATCHES: Final = Family("headwater_log_batches_total", "Batches in which it has appended them.", "counter")


def texts(worker: Worker, log: Log) -> Texts:
    """What to answer at each path."""

    async def metrics() -> Text:
        tail = (await log.backend.tail(DEFAULT_SHARD)).position
        return Text("".join(f"{line}\n" for line in lines(worker, log, tail)), media=MEDIA)

    async def well() -> Text:
        judged = health(worker, asyncio.get_running_loop().time())
        told = {
            "status": "ok" if judged.ok else "stuck",
            "stuck": list(judged.stuck),
            "failing": dict(judged.failing),
            "loops": {name: round(age, 3) for name, age in judged.loops.items()},
        }
        return Text(json.dumps(told), 200 if judged.ok else 503)

    return {"/metrics": metrics, "/healthz": well, "/readyz": well}


def lines(worker: Worker, log: Log, tail: int) -> Iterator[str]:
    """All metrics, as Prometheus reads them."""
    judged = health(worker, asyncio.get_running_loop().time())
    yield from worker.engine.counts.lines()
    yield from gauge_lines(_OWNED, {(): len(worker.engine.runs)})
    yield from gauge_lines(_HEALTHY, {(): float(judged.ok)})
    yield from gauge_lines(_AGE, {(name,): age for name, age in judged.loops.items()})
    yield from gauge_lines(_POSITION, {(): tail})
    yield from gauge_lines(_APPENDED, {(): log.appended})
    yield from gauge_lines(_BATCHES, {(): log.batches})
    yield from gauge_lines(_LAG, {(name,): lag for name, lag in worker.lag(tail).items()})

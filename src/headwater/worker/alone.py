"""One run in a process of its own: for a run that may be what killed the workers that had it."""

from __future__ import annotations

from headwater.app import Headwater
from headwater.engine.engine import Engine
from headwater.engine.options import EngineOptions
from headwater.log.log import Log


async def execute_alone(app: Headwater, log: Log, tenant: str, run: str) -> None:
    """Take this one run over, work on it until it has ended or only waits, and let go of it."""
    engine = Engine(app, log, EngineOptions(runs=0, queues={}))
    await engine.start()
    try:
        await engine.work_alone(tenant, run)
    finally:
        await engine.stop()

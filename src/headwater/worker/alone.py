"""One run in a process of its own: for a run that may be what killed the workers that had it."""

from __future__ import annotations

import asyncio
import os
import sys

from headwater.app import Headwater
from headwater.engine.engine import Alone, Engine
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


def in_a_child(where: str, url: str) -> Alone:
    """How a worker for `MODULE:APP` has a run executed alone: by a command of its own, and whatever becomes of it."""

    async def execute(tenant: str, run: str) -> None:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headwater", "worker", where, "--alone", f"{tenant}/{run}"),
            env={
                **os.environ,
                "HEADWATER_URL": url,
            },  # others can see arguments, and an address may hold a password
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await child.wait()
        finally:
            if child.returncode is None:
                child.kill()

    return execute

"""A worker process of ours: python -m bench.workflows.worker URL OPTIONS

The options are a JSON object: `lease` (seconds), `queue` (how many queued steps at once), and `elsewhere` (as if on
another host: nobody can look its process up, so only its lease tells that it has died).
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from bench.harness import new_runner
from bench.workflows.program import QUEUE, app
from headwater import Log, Registry
from headwater.engine.engine import Engine
from headwater.engine.options import EngineOptions
from headwater.engine.place import here
from headwater.log.open import backend_for
from headwater.runs.events import register_run_events


async def main(url: str, lease: float = 10, queue: int = 0, *, elsewhere: bool = False) -> None:
    options = EngineOptions(lease=lease, queues={QUEUE: queue} if queue else {})
    async with Log(backend_for(url), register_run_events(Registry(*app.events))) as log:
        engine = Engine(app, log, options, place=(lambda: "") if elsewhere else here)
        await engine.start()
        print("ready", flush=True)
        try:
            await asyncio.to_thread(sys.stdin.read)
        finally:
            await engine.stop()


if __name__ == "__main__":
    given: dict[str, Any] = json.loads(sys.argv[2])
    with new_runner() as runner:
        runner.run(main(sys.argv[1], **given))

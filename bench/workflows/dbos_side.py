"""The peer's process: python -m bench.workflows.dbos_side ADDRESS

It runs the same workflows with DBOS, with the options that it has by default; only its queue, which the client in
`dbos_client` uses, polls 200 times a second and not once. For each line `WORKFLOW CALLERS RUNS` it
prints a JSON list: how many seconds each run took, and all of them together at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from dbos import DBOS

from bench.harness import new_runner, together
from bench.workflows.dbos_client import POLL, QUEUE


@DBOS.step()
async def number(n: int) -> int:
    return n


@DBOS.workflow()
async def ten(n: int) -> int:
    total = 0
    for each in range(10):
        total += await number(each)
    return total + n


@DBOS.workflow()
async def one(n: int) -> int:
    return await number(n)


async def measure(name: str, callers: int, runs: int) -> list[float]:
    workflow, least = (ten, 45) if name == "ten" else (one, 0)
    numbers = iter(range(runs))
    taken: list[float] = []

    async def caller(_: int) -> None:
        for n in numbers:
            started = time.perf_counter()
            handle = await DBOS.start_workflow_async(workflow, n)
            assert await handle.get_result() == least + n
            taken.append(time.perf_counter() - started)

    started = time.perf_counter()
    await together(callers, caller)
    return [*taken, time.perf_counter() - started]


async def main() -> None:
    loop = asyncio.get_running_loop()
    await measure("ten", 1, 2)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, callers, runs = line.split()
        print(json.dumps(await measure(name, int(callers), int(runs))), flush=True)


if __name__ == "__main__":
    DBOS(
        config={
            "name": "bench",
            "system_database_url": sys.argv[1],
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=POLL)
    try:
        with new_runner() as runner:
            runner.run(main())
    finally:
        DBOS.destroy()

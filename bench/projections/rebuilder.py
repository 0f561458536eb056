"""The other process of the rebuild cases: python -m bench.projections.rebuilder ADDRESS

It rebuilds once and prints the seconds, and its memory in MB at a quarter of the way and at the end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.harness import new_runner
from bench.orders import OrderPlaced
from bench.projections.domain import BOUGHT
from headwater import open_log
from headwater.projections.open import store_for
from headwater.projections.rebuild import rebuild

_PAGE = 4096


def memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


async def main(address: str) -> None:
    async with open_log(address, OrderPlaced) as log:
        early = 0.0

        def went(done: int, goal: int) -> None:
            nonlocal early
            if not early and done > goal // 4:
                early = memory()

        print("ready", flush=True)
        started = time.perf_counter()
        await rebuild(log, BOUGHT, store_for(log), went=went)
        taken = time.perf_counter() - started
        print(
            json.dumps({"seconds": taken, "memory_quarter_mb": early, "memory_end_mb": memory()}), flush=True
        )


if __name__ == "__main__":
    with new_runner() as runner:
        runner.run(main(sys.argv[1]))

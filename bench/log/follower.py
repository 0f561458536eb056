"""The other process of the latency cases: python -m bench.log.follower SIDE ADDRESS COUNT hints|poll

It prints `ready` when it follows, and then the nanoseconds that each event took, as one JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from bench.bare.latency import bare_arrivals
from bench.harness import new_runner
from headwater import Log, LogOptions
from headwater.log.open import backend_for


class NoHints:
    """Every hint is lost."""

    def announce(self, shard: int, position: int) -> None:
        pass

    async def wait(self, timeout: float) -> None:
        await asyncio.sleep(timeout)


class Deaf:
    """A backend whose hints never come."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.hints = NoHints()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


async def _ours(address: str, *, hints: bool) -> AsyncIterator[int | None]:
    backend = backend_for(address)
    async with Log(backend if hints else Deaf(backend), options=LogOptions(poll=0.25)) as log:
        head = await log.head()
        yield None
        async for recorded in log.subscribe(head):
            yield recorded.data["at"]


async def main(side: str, address: str, count: int, *, hints: bool) -> None:
    arrivals = (
        _ours(address, hints=hints)
        if side == "ours"
        else bare_arrivals(side.removeprefix("bare-"), address, hints=hints)
    )
    taken: list[int] = []
    async for sent in arrivals:
        if sent is None:
            print("ready", flush=True)
        else:
            taken.append(time.monotonic_ns() - sent)
            if len(taken) == count:
                break
    print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    with new_runner() as runner:
        runner.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), hints=sys.argv[4] == "hints"))

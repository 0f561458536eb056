"""The other process of the lag cases: python -m bench.projections.follower ADDRESS COUNT

A projector, as a worker has one. It prints `ready`, and then the nanoseconds from before each append to the commit of
the state with it, as one JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.harness import new_runner
from bench.projections.domain import Sent
from headwater import Log, open_log
from headwater.projections.open import store_for
from headwater.projections.projection import Projection
from headwater.projections.projector import Projector
from headwater.projections.stores import Checkpoint, StateRow, Store

SENT = Projection(
    "sent", state=int, initial=0, fold=lambda _, event: event.at, events=(Sent,), key=lambda r: str(r.version)
)


class Watched:
    """A store that looks at the clock when a save has been committed. Each event has a key of its own."""

    def __init__(self, log: Log, count: int) -> None:
        self._inner: Any = store_for(log)
        self._count = count
        self.taken: list[int] = []
        self.done = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        saved: Checkpoint = await self._inner.save(at, position, rows)
        now = time.monotonic_ns()
        self.taken += [now - int(row.state or b"0") for row in rows]
        if len(self.taken) >= self._count:
            self.done.set()
        return saved


async def main(address: str, count: int) -> None:
    async with open_log(address, Sent) as log:
        watched: Any = Watched(log, count)

        def store(_: Log) -> Store:
            return watched

        projector = Projector(log, [replace(SENT, store=store)])
        await projector.start()
        while "sent" not in projector.positions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await watched.done.wait()
        await projector.stop()
        print(json.dumps(watched.taken[:count]), flush=True)


if __name__ == "__main__":
    with new_runner() as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))

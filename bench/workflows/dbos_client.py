"""The peer as its users start runs from another process: enqueued by a client, executed by the peer's process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

QUEUE = "bench"
POLL = 0.005
"""Seconds; by default both sides look once a second."""

Taken = Callable[[int], Awaitable[list[float]]]


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Taken]:
    """Seconds of each of so many runs of one step, one after the other."""
    from dbos import DBOSClient

    there = DBOSClient(system_database_url=address)

    async def taken(count: int) -> list[float]:
        found: list[float] = []
        for n in range(count):
            started = time.perf_counter()
            handle = await there.enqueue_async({"workflow_name": "one", "queue_name": QUEUE}, n)
            assert await handle.get_result(polling_interval_sec=POLL) == n
            found.append(time.perf_counter() - started)
        return found

    try:
        yield taken
    finally:
        there.destroy()

"""The append rate after ten seconds with an old snapshot held by somebody else, under load all the time.

The limit is our own rate without such a snapshot, before it and after it. What an old snapshot harms is a log with a
hot row: its dead versions cannot be removed while the snapshot is held, and every append walks them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import Any

import asyncpg

from bench.bare.sqlite import connect
from bench.harness import Case, Result, Scale
from bench.log.append import appends
from bench.orders import OrderPlaced
from bench.places import Places
from headwater import Log, open_log

UNIT = "events/s"
CALLERS = 32
GOAL = "0.8 of the rate without"


async def _rates(log: Log, scale: Scale, events: int) -> list[float]:
    return [await appends(log, events, CALLERS) for _ in range(scale.rounds)]


@asynccontextmanager
async def _postgres_snapshot(url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("SELECT txid_current()")  # a transaction id of its own holds back even more
        yield
    await connection.close()


@asynccontextmanager
async def _sqlite_snapshot(file: Any) -> AsyncIterator[None]:
    connection = connect(file)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    yield
    connection.execute("ROLLBACK")
    connection.close()


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    if backend == "postgres":
        database = await places.database()
        address, snapshot = database.worker_url, partial(_postgres_snapshot, database.owner_url)
    else:
        file = places.file("log.db")
        address, snapshot = f"sqlite:///{file}", partial(_sqlite_snapshot, file)
    async with open_log(address, OrderPlaced) as log:
        warm = [await appends(log, scale.events // 4, CALLERS) for _ in range(2)]
        events = scale.sample(warm[-1], step=CALLERS)
        without = await _rates(log, scale, events)
        async with snapshot():
            until = time.monotonic() + scale.hold
            while time.monotonic() < until:
                await appends(log, events, CALLERS)
            held = await _rates(log, scale, events)
        without += await _rates(log, scale, events)
    ratio = median(held) / median(without)
    return Result(UNIT, GOAL, median(held), median(without), ratio, reached=ratio >= 0.8)


CASES = [
    Case(f"{backend}.append_old_snapshot", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

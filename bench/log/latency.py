"""From the call of `append` to the delivery in another process, in milliseconds.

The clock starts before `append` is called, so its commit is in the figure. Both processes read the machine's
monotonic clock. The limit does the same with the bare driver: insert and commit a row; Postgres then sends a NOTIFY on
another connection, SQLite a datagram; the other process reads what is new. Without hints, both sides look every 250 ms.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any

from bench.bare.latency import bare_sender
from bench.harness import Case, Result, Scale
from bench.log.append import appends
from bench.orders import OrderPlaced, stream
from bench.places import Places
from headwater import RawEvent, Write, open_log

UNIT = "ms"
POLL = 0.25
_HINTED = "p50 at most 5, p99 at most 25"
_POLLED = "p50 and p99 at most the poll interval (250) plus 10"

Send = Callable[[int], Awaitable[None]]


@asynccontextmanager
async def follower(
    side: str, address: str, count: int, *, hints: bool
) -> AsyncIterator[asyncio.StreamReader]:
    """Another process that follows until it has seen `count` events."""
    arguments = ["-m", "bench.log.follower", side, address, str(count), "hints" if hints else "poll"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).strip() == b"ready", (
                f"the follower of {address} did not start"
            )
        yield process.stdout
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _sends(send: Send, count: int, pause: float, chance: random.Random) -> None:
    for _ in range(count):
        await asyncio.sleep(pause * (0.5 + chance.random()))  # so that arrivals spread over the poll interval
        await send(time.monotonic_ns())


async def _taken(out: asyncio.StreamReader, rounds: int) -> list[dict[str, float]]:
    """p50 and p99 of each round, in milliseconds."""
    async with asyncio.timeout(30):
        taken = [ns / 1e6 for ns in json.loads(await out.readline())]
    each = len(taken) // rounds
    parts = [taken[start : start + each] for start in range(0, len(taken), each)]
    return [{"p50": median(p), "p99": quantiles(p, n=100, method="inclusive")[98]} for p in parts]


async def _measure(places: Places, scale: Scale, *, backend: str, hints: bool, goal: str) -> Result:
    if backend == "postgres":
        database = await places.database()
        address, bare_address = database.worker_url, database.owner_url
    else:
        address, bare_address = f"sqlite:///{places.file('log.db')}", str(places.file("bare.db"))
    count, pause = (scale.events // 25, 0.01) if hints else (scale.events // 60, 0.05)
    total = scale.rounds * count
    chance = random.Random(0)
    async with open_log(address, OrderPlaced) as log, bare_sender(backend, bare_address) as bare:

        async def send(sent: int) -> None:
            await log.append(Write(stream(1), [RawEvent("sent", {"at": sent})]))

        await appends(log, 100, 1)
        async with (
            follower("ours", address, total, hints=hints) as ours_out,
            follower(f"bare-{backend}", bare_address, total, hints=hints) as bare_out,
        ):
            for _ in range(scale.rounds):
                await _sends(send, count, pause, chance)
                await _sends(bare, count, pause, chance)
            mine, theirs = await _taken(ours_out, scale.rounds), await _taken(bare_out, scale.rounds)
    ours, limit = ({p: median(r[p] for r in side) for p in ("p50", "p99")} for side in (mine, theirs))
    most = {"p50": 5, "p99": 25} if hints else {"p50": POLL * 1000 + 10, "p99": POLL * 1000 + 10}
    return Result(
        unit=UNIT,
        goal=goal,
        ours=ours,
        limit=limit,
        vs_limit={p: median(b[p] / a[p] for a, b in zip(mine, theirs, strict=True)) for p in ours},
        reached=all(ours[p] <= most[p] for p in most),
    )


def _cases(backend: str) -> list[Case]:
    measure: Any = partial(_measure, backend=backend)
    return [
        Case(f"{backend}.subscribe_latency", _HINTED, UNIT, partial(measure, hints=True, goal=_HINTED)),
        Case(
            f"{backend}.subscribe_latency_no_hints",
            _POLLED,
            UNIT,
            partial(measure, hints=False, goal=_POLLED),
        ),
    ]


CASES = [*_cases("postgres"), *_cases("sqlite")]

"""The cost of Python alone: microseconds of the processor an event, on the memory backend; nothing here is durable.

The limit is what no log can do without: serialising the model, with sorted keys, and hashing the bytes; for reading,
walking the rows, or Pydantic's own validation of their payloads.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256

import orjson

from bench.harness import Case, Compared, Result, Scale, compare, rate
from bench.log.append import appends
from bench.log.read import ours as read_ours
from bench.log.read import validations
from bench.orders import ORDERS, OrderPlaced
from bench.places import Places
from headwater import open_log
from headwater.log.port import Query

UNIT = "us/event"
_ALL = Query(limit=1_000_000)


def _per_event(measure: Callable[[], Awaitable[float]], events: int) -> Callable[[], Awaitable[float]]:
    """Processor time, which other processes do not add to."""

    async def microseconds() -> float:
        started = time.process_time()
        await measure()
        return (time.process_time() - started) * 1e6 / events

    return microseconds


def _result(compared: Compared, goal: str) -> Result:
    return Result(
        unit=UNIT,
        goal=goal,
        ours=compared.median("ours"),
        limit=compared.median("limit"),
        vs_limit=compared.ratio("limit", "ours"),
    )


async def encodings(count: int) -> float:
    """Events a second, serialised and hashed."""

    async def work() -> None:
        dump = OrderPlaced.__pydantic_serializer__.to_python
        for number in range(count):
            payload = orjson.dumps(
                dump(ORDERS[number % len(ORDERS)], mode="json"), option=orjson.OPT_SORT_KEYS
            )
            sha256(payload).digest()

    return await rate(count, work)


async def _append(_: Places, scale: Scale, *, callers: int, batch: int, goal: str) -> Result:
    async def ours() -> float:
        async with open_log("memory:", OrderPlaced) as log:
            return await appends(log, scale.events, callers, batch)

    compared = await compare(
        scale.rounds,
        ours=_per_event(ours, scale.events),
        limit=_per_event(partial(encodings, scale.events), scale.events),
    )
    return _result(compared, goal)


async def _read(_: Places, scale: Scale, *, typed: bool, goal: str) -> Result:
    async with open_log("memory:", OrderPlaced) as log:
        await appends(log, scale.events, 1, 100)
        stored = [row.data or b"" for row in (await log.backend.read(_ALL)).rows]

        async def walk() -> None:
            for data in stored:
                if not data:
                    raise AssertionError

        compared = await compare(
            scale.rounds,
            ours=_per_event(partial(read_ours, log, len(stored), typed=typed), len(stored)),
            limit=_per_event(
                partial(validations, stored) if typed else partial(rate, len(stored), walk), len(stored)
            ),
        )
    return _result(compared, goal)


CASES = [
    Case(
        "memory.append_c32",
        "none",
        UNIT,
        partial(_append, callers=32, batch=1, goal="none"),
    ),
    Case(
        "memory.append_batch100",
        "none",
        UNIT,
        partial(_append, callers=1, batch=100, goal="none"),
    ),
    Case("memory.read_raw", "none", UNIT, partial(_read, typed=False, goal="none")),
    Case("memory.read_typed", "none", UNIT, partial(_read, typed=True, goal="none")),
]

"""The whole log in pages of 1,000, raw and typed.

Raw: every event's position and stored bytes are looked at. The limit is the bare driver over a table with the same
columns, the peer its recorder's `select_notifications`. Typed: every event becomes its model. The limit is the bare
driver with Pydantic validating each payload as it comes; `limit_validation` is Pydantic alone, over a list of payloads
in memory, which no reader of a database could reach.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from uuid import uuid4

from bench import peer
from bench.bare import postgres as bare_postgres
from bench.bare import sqlite as bare_sqlite
from bench.harness import Case, Result, Sample, Scale, compare, rate, rate_result
from bench.log.append import appends
from bench.orders import OrderPlaced, rows
from bench.places import Places
from headwater import Log, open_log

UNIT = "events/s"
PAGE = 1000
_RAW = "1.5 times the peer"
_TYPED = "0.5 of the limit"

_validate = OrderPlaced.__pydantic_validator__.validate_json
Pages = AsyncIterator[Sequence[Any]] | Iterator[Sequence[Any]]


async def ours(log: Log, count: int, *, typed: bool) -> float:
    """Events a second through the public API."""

    async def work() -> None:
        seen = 0
        async for page in log.pages(page=PAGE):
            for recorded in page.events:
                if recorded.event if typed else (recorded.stored and recorded.position):
                    seen += 1
        assert seen == count, f"{seen} of {count} read"

    return await rate(count, work)


async def validations(stored: Sequence[bytes]) -> float:
    """Events a second of Pydantic alone."""

    async def work() -> None:
        for data in stored:
            _validate(data)

    return await rate(len(stored), work)


async def _walk(pages: Pages, count: int, column: int, *, typed: bool) -> float:
    async def work() -> None:
        seen = 0
        async for page in pages if isinstance(pages, AsyncIterator) else _async(pages):
            for row in page:
                if _validate(row[column]) if typed else (row[column] and row[0]):
                    seen += 1
        assert seen == count, f"{seen} of {count} read"

    return await rate(count, work)


async def _async(pages: Iterator[Sequence[Any]]) -> AsyncIterator[Sequence[Any]]:
    for page in pages:
        yield page


async def _compare(
    scale: Scale, count: int, log: Log, bare: Any, recorder: Any, *, typed: bool, goal: str
) -> Result:
    async def driver(*, minimal: bool = False) -> float:
        pages = bare.pages(PAGE, minimal=minimal)
        return await _walk(pages, count, 1 if minimal else 17, typed=typed)

    mine: Sample = partial(ours, log, count, typed=typed)
    await mine()
    if typed:
        stored = [row.data or b"" for row in rows(count, 32)]
        compared = await compare(
            scale.rounds, ours=mine, limit=driver, limit_validation=partial(validations, stored)
        )
        reached = compared.ratio("ours", "limit") >= 0.5
        return rate_result(
            UNIT, goal, compared, reached=reached, vs_validation=compared.ratio("ours", "limit_validation")
        )
    compared = await compare(
        scale.rounds,
        ours=mine,
        limit=driver,
        limit_minimal=partial(driver, minimal=True),
        peer=partial(peer.read_rate, recorder, count) if recorder else None,
    )
    result = rate_result(
        UNIT, goal, compared, reached=(compared.has("peer") and compared.ratio("ours", "peer") >= 1.5)
    )
    if result.vs_peer is None:
        result.reached, result.note = None, peer.MISSING
    return result


async def _postgres(places: Places, scale: Scale, *, typed: bool, goal: str) -> Result:
    database = await places.database()
    count = scale.events * 5
    with ExitStack() as exits:
        recorder = None
        if not typed and peer.installed():
            recorder = exits.enter_context(peer.postgres(database.owner_url))
            recorder.insert_events(peer.stored(uuid4(), 1, count))
        async with (
            open_log(database.worker_url, OrderPlaced) as log,
            bare_postgres.Bare.open(database.owner_url, 1) as bare,
        ):
            await appends(log, count, 1, 100)
            await bare.fill(count)
            return await _compare(scale, count, log, bare, recorder, typed=typed, goal=goal)


async def _sqlite(places: Places, scale: Scale, *, typed: bool, goal: str) -> Result:
    count = scale.events * 5
    with ExitStack() as exits:
        recorder = None
        if not typed and peer.installed("sqlite3"):
            recorder = exits.enter_context(peer.sqlite(places.file("peer.db")))
            recorder.insert_events(peer.stored(uuid4(), 1, count))
        bare = exits.enter_context(bare_sqlite.Bare.open(places.file("bare.db")))
        bare.fill(count)
        async with open_log(f"sqlite:///{places.file('log.db')}", OrderPlaced) as log:
            await appends(log, count, 1, 100)
            return await _compare(scale, count, log, bare, recorder, typed=typed, goal=goal)


CASES = [
    Case("postgres.read_raw", _RAW, UNIT, partial(_postgres, typed=False, goal=_RAW)),
    Case("postgres.read_typed", _TYPED, UNIT, partial(_postgres, typed=True, goal=_TYPED)),
    Case("sqlite.read_raw", _RAW, UNIT, partial(_sqlite, typed=False, goal=_RAW)),
    Case("sqlite.read_typed", _TYPED, UNIT, partial(_sqlite, typed=True, goal=_TYPED)),
]

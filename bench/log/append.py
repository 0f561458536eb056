"""Appends through the public API, beside the bare driver that commits the same rows."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from bench import peer
from bench.bare import postgres as bare_postgres
from bench.bare import sqlite as bare_sqlite
from bench.harness import Case, Result, Scale, compare, rate, rate_result, together
from bench.orders import ORDERS, OrderPlaced, stream
from bench.places import Places
from headwater import Log, Write, open_log

UNIT = "events/s"


async def appends(log: Log, count: int, callers: int, batch: int = 1) -> float:
    """Events a second of `callers` that each append to a stream of their own, call after call."""
    each = max(count // callers // batch, 1)
    batches = [ORDERS[start : start + batch] for start in range(0, len(ORDERS) - batch + 1, batch)]

    async def caller(number: int) -> None:
        mine = stream(number)
        for call in range(each):
            await log.append(Write(mine, batches[(number + call) % len(batches)]))

    return await rate(each * callers * batch, lambda: together(callers, caller))


async def _postgres(
    places: Places, scale: Scale, *, callers: int, goal: str, vs_limit: float, vs_peer: float
) -> Result:
    """The limit: 32 connections that insert and commit a row each. Its rate does not depend on our callers."""
    database = await places.database()
    with ExitStack() as exits:
        recorder = exits.enter_context(peer.postgres(database.owner_url)) if peer.installed() else None
        async with (
            open_log(database.worker_url, OrderPlaced) as log,
            bare_postgres.Bare.open(database.owner_url, 32) as bare,
        ):
            await appends(
                log, scale.events // 10, callers
            )  # connections, plans and caches are warm on both sides
            await bare.append(scale.events // 10)
            warm = await appends(log, scale.events // 5, callers), await bare.append(scale.events // 5)
            events = scale.sample(*warm, step=callers)
            compared = await compare(
                scale.rounds,
                ours=partial(appends, log, events, callers),
                limit=partial(bare.append, events),
                limit_minimal=partial(bare.append, events, minimal=True),
                peer=partial(peer.append_rate, recorder, events // 4, 1, peer.THREADS) if recorder else None,
            )
    result = rate_result(UNIT, goal, compared, reached=compared.ratio("ours", "limit") >= vs_limit)
    if result.vs_peer is None:
        result.note = peer.MISSING
    else:
        result.reached = result.reached and result.vs_peer >= vs_peer
    return result


async def _postgres_batches(places: Places, scale: Scale, *, goal: str, vs_limit: float) -> Result:
    """The limit: one connection that inserts 100 rows a commit with `unnest`, as our one caller does."""
    database = await places.database()
    with ExitStack() as exits:
        recorder = exits.enter_context(peer.postgres(database.owner_url)) if peer.installed() else None
        async with (
            open_log(database.worker_url, OrderPlaced) as log,
            bare_postgres.Bare.open(database.owner_url, 4) as bare,
        ):
            await appends(log, scale.events, 4, 100)
            await bare.append_batches(scale.events // 400 * 400, 100, 4)
            warm = await appends(log, scale.events, 1, 100)
            events = scale.sample(warm, most=5 * scale.events, step=800)
            compared = await compare(
                scale.rounds,
                ours=partial(appends, log, events, 1, 100),
                limit=partial(bare.append_batches, events, 100, 1),
                limit_minimal=partial(bare.append_batches, events, 100, 1, minimal=True),
                ours_c4=partial(appends, log, events, 4, 100),
                limit_c4=partial(bare.append_batches, events, 100, 4),
                peer=partial(peer.append_rate, recorder, events // 2, 100, peer.THREADS)
                if recorder
                else None,
            )
    result = rate_result(UNIT, goal, compared, reached=compared.ratio("ours", "limit") >= vs_limit)
    result.also["vs_limit_c4"] = compared.ratio("ours_c4", "limit_c4")
    return result


async def _sqlite(
    places: Places, scale: Scale, *, callers: int, batch: int, goal: str, vs_limit: float
) -> Result:
    """The limit: one connection that commits as many rows as one of our calls has."""
    with ExitStack() as exits:
        recorder = (
            exits.enter_context(peer.sqlite(places.file("peer.db"))) if peer.installed("sqlite3") else None
        )
        bare = exits.enter_context(bare_sqlite.Bare.open(places.file("bare.db")))
        async with open_log(f"sqlite:///{places.file('log.db')}", OrderPlaced) as log:
            await appends(log, scale.events // 5, callers, batch)
            warm_up = scale.events // 5 // batch * batch
            warm = await appends(log, warm_up, callers, batch), await bare.append(warm_up, batch)
            most = scale.events if batch == 1 else scale.events * 5
            events = scale.sample(*warm, most=most, step=callers * batch)
            compared = await compare(
                scale.rounds,
                ours=partial(appends, log, events, callers, batch),
                limit=partial(bare.append, events, batch),
                limit_minimal=partial(bare.append, events, batch, minimal=True),
                peer=partial(peer.append_rate, recorder, events // 4, batch, 1) if recorder else None,
            )
    return rate_result(UNIT, goal, compared, reached=compared.ratio("ours", "limit") >= vs_limit)


def _case(key: str, goal: str, measure: partial[Any]) -> Case:
    return Case(key, goal, UNIT, partial(measure, goal=goal))


CASES = [
    _case(
        "postgres.append_c32",
        "1.0 of the limit and 4 times the peer",
        partial(_postgres, callers=32, vs_limit=1, vs_peer=4),
    ),
    _case(
        "postgres.append_c256", "1.5 of the limit", partial(_postgres, callers=256, vs_limit=1.5, vs_peer=0)
    ),
    _case("postgres.append_batch100", "0.5 of the limit", partial(_postgres_batches, vs_limit=0.5)),
    _case("sqlite.append_c1", "0.6 of the limit", partial(_sqlite, callers=1, batch=1, vs_limit=0.6)),
    _case("sqlite.append_c32", "3 times the limit", partial(_sqlite, callers=32, batch=1, vs_limit=3)),
    _case("sqlite.append_batch100", "0.3 of the limit", partial(_sqlite, callers=1, batch=100, vs_limit=0.3)),
]

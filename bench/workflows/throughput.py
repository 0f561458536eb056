"""Workflows of ten no-op steps, end to end: from `hw.start` to the result, with an embedded worker."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from bench.harness import Case, Result, Scale, compare, rate, rate_result, together
from bench.places import Places
from bench.workflows.floor import open_floor
from bench.workflows.places import site, size
from bench.workflows.processes import MISSING, peer, restate
from bench.workflows.program import app, ten
from headwater.client import Client
from headwater.worker import calm_collector

UNIT = "workflows/s"
NO_GOAL = "none"


async def workflows(hw: Client, count: int, callers: int) -> float:
    """Workflows a second, `callers` at once."""
    numbers = iter(range(count))

    async def caller(_: int) -> None:
        for n in numbers:
            run = await hw.start(ten, n)
            assert await run.result() == 45 + n

    return await rate(count, lambda: together(callers, caller))


async def _measure(
    places: Places,
    scale: Scale,
    *,
    backend: str,
    callers: int,
    goal: str,
    vs_limit: float = 0,
    vs_peer: float = 0,
    vs_restate: float = 0,
) -> Result:
    at = await site(places, backend)
    runs = size(scale, 2000 if callers > 1 else 400, least=20)
    theirs = max(callers, size(scale, 100, least=10))
    async with AsyncExitStack() as exits:
        bare = await exits.enter_async_context(open_floor(backend, at.bare)) if at.bare else None
        other = await exits.enter_async_context(peer(at.peer))
        third = await exits.enter_async_context(restate(at.restate if goal != NO_GOAL else ""))
        hw = await exits.enter_async_context(app.connect(at.url, worker=True))
        calm_collector()  # as `headwater worker` and `app.run` do
        warm = await workflows(hw, runs // 4, callers)
        runs = max(20, min(runs, int(warm * scale.seconds * 3)))
        compared = await compare(
            (scale.rounds * 2 + 2) // 3,  # the peers take their time
            ours=partial(workflows, hw, runs, callers),
            limit=partial(bare.rate, runs, callers) if bare else None,
            peer=partial(other.rate, callers, theirs) if other else None,
            restate=partial(third.rate, callers, theirs * 2) if third else None,
        )
    if bare is None:
        return Result(UNIT, goal, ours=compared.median("ours"))
    result = rate_result(UNIT, goal, compared, reached=True)
    result.reached = _judged(result, vs_limit, vs_peer)
    if third:
        result.also["vs_restate"] = compared.ratio("ours", "restate")
        result.reached = result.reached and result.also["vs_restate"] >= vs_restate
    result.note = "" if other else MISSING
    return result


def _judged(result: Result, vs_limit: float, vs_peer: float) -> bool | None:
    """None where there is no goal, or its peer is missing."""
    if not vs_limit and not vs_peer:
        return None
    if vs_peer and result.vs_peer is None:
        return None
    return result.vs_limit >= vs_limit and (not vs_peer or (result.vs_peer or 0) >= vs_peer)


def _case(key: str, goal: str, measure: partial[Any]) -> Case:
    backend, _, name = key.partition(".")
    callers = int(name.rpartition("_c")[2])
    return Case(key, goal, UNIT, partial(measure, backend=backend, callers=callers, goal=goal))


CASES = [
    _case(
        "postgres.steps10_c200",
        "30 times the peer, 2.5 times Restate",
        partial(_measure, vs_peer=30, vs_restate=2.5),
    ),
    _case("sqlite.steps10_c200", "40 times the peer", partial(_measure, vs_peer=40)),
    _case("postgres.steps10_c1", "0.6 of the limit", partial(_measure, vs_limit=0.6)),
    _case("postgres.steps10_c32", NO_GOAL, partial(_measure)),
    _case("sqlite.steps10_c1", NO_GOAL, partial(_measure)),
    _case("memory.steps10_c200", NO_GOAL, partial(_measure)),
]

"""A run of one step, started by a client without a worker, from `hw.start` to the result; the worker is elsewhere.

The limit is the three appends that such a run cannot do without, in one process. The peer's runs are enqueued from
another process too. What it takes when it starts and executes them in one process, as its programs mostly do, is told
beside that: the way to another process and back is spared then.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from statistics import median, quantiles

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.workflows.dbos_client import client
from bench.workflows.floor import Floor, open_floor
from bench.workflows.places import site, size
from bench.workflows.processes import MISSING, Peer, peer, restate, worker
from bench.workflows.program import app, one
from headwater.client import Client

UNIT = "ms"
GOAL = "p50 below the peers'; aim for 3 ms"


async def _ours(hw: Client, count: int) -> list[float]:
    taken: list[float] = []
    for n in range(count):
        started = time.perf_counter()
        run = await hw.start(one, n)
        assert await run.result() == n
        taken.append(time.perf_counter() - started)
    return taken


async def _floor(floor: Floor, count: int) -> list[float]:
    taken: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        await floor.workflow(appends=3)
        taken.append(time.perf_counter() - started)
    return taken


async def _within(other: Peer, count: int) -> list[float]:
    return (await other.taken("one", 1, count))[:-1]


def _shown(taken: list[float]) -> dict[str, float]:
    return {"p50": median(taken) * 1000, "p99": quantiles(taken, n=100, method="inclusive")[98] * 1000}


async def _measure(places: Places, scale: Scale, *, backend: str) -> Result:
    at = await site(places, backend)
    count = size(scale, 240, least=20)
    async with AsyncExitStack() as exits:
        bare = await exits.enter_async_context(open_floor(backend, at.bare))
        other = await exits.enter_async_context(peer(at.peer))
        third = await exits.enter_async_context(restate(at.restate))
        await exits.enter_async_context(worker(at.url))
        hw = await exits.enter_async_context(app.connect(at.url, worker=False))
        sides: dict[str, Callable[[int], Awaitable[list[float]]]] = {
            "ours": partial(_ours, hw),
            "limit": partial(_floor, bare),
        }
        if other is not None:
            sides["peer"] = await exits.enter_async_context(client(at.peer))
            sides["peer_in_one_process"] = partial(_within, other)
        if third is not None:
            sides["restate"] = partial(_within, third)
        for side in sides.values():
            await side(5)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(scale.rounds):
            for name, side in sides.items():
                rounds[name].append(_shown(await side(count)))
    shown = {name: {p: median(r[p] for r in made) for p in ("p50", "p99")} for name, made in rounds.items()}

    def against(name: str) -> float | None:
        if name not in rounds:
            return None
        return median(b["p50"] / a["p50"] for a, b in zip(rounds["ours"], rounds[name], strict=True))

    vs_peer, vs_restate = against("peer"), against("restate")
    also: dict[str, float] = {}
    for name in ("peer_in_one_process", "restate"):
        if (ratio := against(name)) is not None:
            also |= {name: shown[name]["p50"], f"vs_{name}": ratio}
    return Result(
        UNIT,
        GOAL,
        ours=shown["ours"],
        limit=shown["limit"],
        vs_limit=against("limit"),
        peer=shown["peer"]["p50"] if vs_peer else None,
        vs_peer=vs_peer,
        reached=vs_peer > 1 and (vs_restate or 2) > 1 if vs_peer else None,
        also=also,
        note="" if other else MISSING,
    )


CASES = [
    Case(f"{backend}.start_latency", GOAL, UNIT, partial(_measure, backend=backend))
    for backend in ("postgres", "sqlite")
]

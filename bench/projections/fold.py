"""A log folded from its beginning, checkpoint and states in one transaction a page: into 1,000 keys, and 50,000."""

from __future__ import annotations

from functools import partial

from bench.harness import Case, Result, Scale, compare, rate, rate_result
from bench.places import Places
from bench.projections.bare import on_postgres, on_sqlite
from bench.projections.domain import filled, fold_all, folding_of
from headwater.projections.open import store_for

UNIT = "events/s"
NARROW, WIDE = 1_000, 50_000
GOALS = {"postgres": 50_000, "sqlite": 80_000}


async def _measure(places: Places, scale: Scale, *, backend: str, keys: int, goal: int) -> Result:
    events = max(scale.events * 5, 2 * keys)

    if backend == "postgres":
        database = await places.database()
        address, bare_open = database.worker_url, on_postgres(database.owner_url, events, keys)
    else:
        address, bare_open = (
            f"sqlite:///{places.file('log.db')}",
            on_sqlite(places.file("bare.db"), events, keys),
        )
    async with filled(address, events, keys) as log, bare_open as bare:
        store = store_for(log)
        folds = 0

        async def ours() -> float:
            nonlocal folds
            folds += 1
            folding = await folding_of(log, store, f"bought-{folds}")

            async def work() -> None:
                assert await fold_all(folding) == events

            try:
                return await rate(events, work)
            finally:
                await folding.release()

        await ours()
        compared = await compare(scale.rounds, ours=ours, limit=partial(bare.fold, events))
    return rate_result(UNIT, f"{goal:,}", compared, reached=compared.median("ours") >= goal, keys=keys)


CASES = [
    Case(
        f"{backend}.{name}",
        f"{goal // share:,}",
        UNIT,
        partial(_measure, backend=backend, keys=keys, goal=goal // share),
    )
    for backend, goal in GOALS.items()
    for name, keys, share in (("fold", NARROW, 1), ("fold_wide", WIDE, 2))
]

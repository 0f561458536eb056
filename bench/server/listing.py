"""The list of runs, out of a million, with filters, over HTTP.

The rows of the list are put there by the database itself; the list is read from nothing else.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import apsw
import asyncpg
import httpx

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.server.processes import WHERE, command
from bench.workflows.places import site, size
from headwater.log.open import open_log

_GOAL = 10
_FILTERS = {
    "status": {"status": "failed"},
    "workflow": {"workflow": "rare"},
    "both": {"workflow": "common", "status": ["failed", "held"]},
    "page": {"status": "completed", "before": "r-500000"},
}
_DATA = '{"workflow_version":1,"state":null,"attributes":{},"error":null,"parent":null}'
_POSTGRES = """
INSERT INTO headwater.entries (tenant, list, key, at, label, status, data)
SELECT 'default', 'runs', 'r-' || n, 1700000000000000 + n, CASE WHEN n % 1000 = 7 THEN 'rare' ELSE 'common' END,
  CASE n % 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'held' WHEN 2 THEN 'running' ELSE 'completed' END, $2
FROM generate_series(1, $1::int) AS n
"""
_SQLITE = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
INSERT INTO hw_entries (tenant, list, key, at, label, status, data)
SELECT 'default', 'runs', 'r-' || n, 1700000000000000 + n, CASE WHEN n % 1000 = 7 THEN 'rare' ELSE 'common' END,
  CASE n % 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'held' WHEN 2 THEN 'running' ELSE 'completed' END, ?2
FROM numbers
"""


async def _fill(backend: str, url: str, bare: str, runs: int) -> None:
    async with open_log(url):
        pass
    if backend == "postgres":
        connection = await asyncpg.connect(bare)
        await connection.execute(_POSTGRES, runs, _DATA.encode())
        await connection.execute("ANALYZE headwater.entries")
        await connection.close()
    else:
        file = apsw.Connection(url.removeprefix("sqlite:///"))
        file.execute(_SQLITE, (runs, _DATA.encode()))
        file.close()


async def listed(places: Places, scale: Scale, *, backend: str) -> Result:
    at = await site(places, backend)
    runs = size(scale, 1_000_000, least=550_000)
    await _fill(backend, at.url, at.bare, runs)
    found: dict[str, float] = {}
    async with (
        command(at.url, "serve", WHERE, "--port", "0") as served,
        httpx.AsyncClient(base_url=f"{served['address']}/api/v1", timeout=60) as http,
    ):
        for name, asked in _FILTERS.items():
            taken: list[float] = []
            for _ in range(size(scale, 200, least=50)):
                began = time.perf_counter()
                page = (await http.get("/runs", params={**asked, "limit": 20})).json()
                taken.append((time.perf_counter() - began) * 1000)
                assert len(page["runs"]) == 20
            found[name] = median(taken)
    worst = max(found.values())
    return Result("ms", str(_GOAL), worst, reached=worst <= _GOAL, also={"runs": runs, **found})


CASES = [
    Case(f"{backend}.list_ms", str(_GOAL), "ms", partial(listed, backend=backend))
    for backend in ("sqlite", "postgres")
]

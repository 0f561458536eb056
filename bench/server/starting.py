"""Runs started over HTTP: how many a second, and how long from the request to the result."""

from __future__ import annotations

import time
from statistics import median

import httpx

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.server.processes import WHERE, bare_server, command, post_script, posts_a_second
from bench.workflows.places import size


async def starts(places: Places, scale: Scale) -> Result:
    """32 kept connections of a compiled client; no worker. The limit is the same HTTP server with nothing behind it."""
    script = post_script(places.file("x").parent)
    ours: list[float] = []
    limit: list[float] = []
    url = f"sqlite:///{places.file('runs.db')}"
    async with command(url, "serve", WHERE, "--port", "0") as served, bare_server() as bare:
        for _ in range(scale.rounds):
            ours.append(await posts_a_second(served["address"], script, scale.seconds))
            limit.append(await posts_a_second(bare, script, scale.seconds))
    ratio = median(a / b for a, b in zip(ours, limit, strict=True))
    return Result(
        "starts/s", "2,000", median(ours), median(limit), ratio, reached=median(ours) >= 2000,
        note="the limit answers from memory",
    )  # fmt: skip


async def start_to_result(places: Places, scale: Scale) -> Result:
    """One after the other: started at the server, executed by a worker in its own process, waited for at the server."""
    url = f"sqlite:///{places.file('runs.db')}"
    taken: list[float] = []
    async with (
        command(url, "serve", WHERE, "--port", "0") as served,
        command(url, "worker", WHERE, "--metrics-port", "0"),
        httpx.AsyncClient(base_url=f"{served['address']}/api/v1") as http,
    ):
        for n in range(size(scale, 400, least=40)):
            began = time.perf_counter()
            run = (await http.post("/runs", json={"workflow": "one", "input": {"n": n}})).json()["run"]
            result = (await http.get(f"/runs/{run}/result")).json()
            taken.append((time.perf_counter() - began) * 1000)
            assert result["output"] == n
    taken = sorted(taken[len(taken) // 10 :])
    p50 = median(taken)
    return Result("ms", "8", p50, reached=p50 <= 8, also={"p99": taken[int(len(taken) * 0.99)]})


CASES = [
    Case("sqlite.starts", "2,000", "starts/s", starts),
    Case("sqlite.start_to_result_p50_ms", "8", "ms", start_to_result),
]

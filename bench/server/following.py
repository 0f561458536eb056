"""Many who follow one run: how long until all of them have been told of its next event."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from urllib.parse import urlsplit

import httpx

from bench.harness import Case, Result, Scale
from bench.places import Places
from bench.server.processes import WHERE, command
from bench.workflows.places import size

_GOAL = 250


async def fanout(places: Places, scale: Scale) -> Result:
    """1,000 followers of one run; a payload is sent to its hook, and each waits until it has read that event."""
    url = f"sqlite:///{places.file('runs.db')}"
    followers = size(scale, 1000, least=200)
    taken: list[float] = []
    async with (
        command(url, "serve", WHERE, "--port", "0") as served,
        command(url, "worker", WHERE, "--metrics-port", "0"),
        httpx.AsyncClient(base_url=f"{served['address']}/api/v1", timeout=30) as http,
    ):
        for n in range(scale.rounds):
            run, token = f"r-{n}", f"t-{n}"
            await http.post("/runs", json={"workflow": "waits", "id": run, "input": {"token": token}})
            while not (await http.get("/hooks", params={"prefix": token})).json()["hooks"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            streams = [await _followed(served["address"], run) for _ in range(followers)]
            await asyncio.gather(*[_until(reader, b"hook_created") for reader, _ in streams])
            waiting = [asyncio.create_task(_until(reader, b"hook_received")) for reader, _ in streams]
            await asyncio.sleep(0)
            began = time.perf_counter()
            await http.post(f"/hooks/{token}", json={"payload": 1})
            await asyncio.gather(*waiting)
            taken.append((time.perf_counter() - began) * 1000)
            for _, writer in streams:
                writer.close()
    ours = median(taken)
    return Result(
        "ms", str(_GOAL), ours, reached=ours <= _GOAL, also={"followers": followers, "worst": max(taken)}
    )


async def _followed(address: str, run: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    asked = f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(asked.encode())
    return reader, writer


async def _until(reader: asyncio.StreamReader, kind: bytes) -> None:
    wanted = b'"type":"%b"' % kind
    async for line in reader:
        if line.startswith(b"data: ") and wanted in line:
            return
    raise AssertionError("the stream has ended")


CASES = [Case("sse.fanout_ms", str(_GOAL), "ms", fanout)]

"""A client without a worker waits for runs that another process executes."""

from __future__ import annotations

import asyncio

from headwater.client import Client
from tests.integration.engine.shop import app, sums


async def test_a_run_that_ended_before_anybody_waited_has_a_result(url: str, hw: Client) -> None:
    async with app.connect(url, worker=True):
        assert await (await hw.start(sums, 2)).result(timeout=30) is not None
        early = await hw.start(sums, 3)
        async with asyncio.timeout(30):
            while not (await early.state()).finished:
                await asyncio.sleep(0.01)
        later = await hw.start(sums, 3)
        expected = await later.result(timeout=30)  # now the client has read past the end of the early one
        assert await early.result(timeout=10) == expected


async def test_runs_that_are_waited_for_at_once_are_told_apart(url: str, hw: Client) -> None:
    async with app.connect(url, worker=True):
        await (await hw.start(sums, 1)).result(timeout=30)
        runs = [await hw.start(sums, n) for n in range(1, 9)]
        results = await asyncio.gather(*[run.result(timeout=30) for run in runs])
        again = await asyncio.gather(*[hw.handle(run.id, sums).result(timeout=30) for run in runs])
        assert results == again
        assert len(set(results)) == len(results)

"""Runs that only wait are nobody's: many are let go of at once, and a worker that stops leaves them in peace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.client import Client
from headwater.log.port import FenceRow, Release
from headwater.runs.rows import fence_key
from tests.integration.engine.shop import app, chat

pytestmark = pytest.mark.timeout(90)
RUNS = 300


async def _talks(here: Client) -> None:
    """Runs that wait for a first line, all of them quiet."""
    await here.start_all({f"talk-{n}": chat.bind(f"token-{n}", 1) for n in range(RUNS)})
    async with asyncio.timeout(30):
        while not all(active.notes.hooks and active.quiet for active in here.engine.runs.values()):
            await asyncio.sleep(0.01)


async def _fences(hw: Client) -> Sequence[FenceRow]:
    return await hw.log.backend.fences("default", [fence_key(f"talk-{n}") for n in range(RUNS)])


async def test_many_are_let_go_of_in_few_requests(
    url: str, hw: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.connect(url, worker=True) as here:
        await _talks(here)
        backend, requests = here.log.backend, 0
        release = backend.release

        async def counted(rows: Sequence[Release]) -> Sequence[bool]:
            nonlocal requests
            requests += 1
            return await release(rows)

        monkeypatch.setattr(backend, "release", counted)
        for active in list(here.engine.runs.values()):
            here.engine.let_go(active)
        async with asyncio.timeout(30):
            while any(fence.holder for fence in await _fences(hw)):
                await asyncio.sleep(0.01)
        assert 1 < requests <= RUNS // 50


async def test_a_worker_that_stops_leaves_runs_that_wait_to_nobody(url: str, hw: Client) -> None:
    async with app.connect(url, worker=True) as here:
        await _talks(here)
        assert len(here.engine.runs) == RUNS
    fences = await _fences(hw)
    assert len(fences) == RUNS
    assert all(fence.holder is None and fence.wakes == fence.seen for fence in fences), "nobody need look"
    async with app.connect(url, worker=True) as here:
        await hw.send("token-7", "hello")
        assert await here.handle("talk-7").result(20) == ["hello"]
        assert len(here.engine.runs) < 5, "the others were not taken up"


async def test_what_came_in_as_the_worker_stopped_is_looked_at_by_the_next(url: str, hw: Client) -> None:
    async with app.connect(url, worker=True) as here:
        await _talks(here)
        sending = [asyncio.create_task(hw.send(f"token-{n}", "hello")) for n in range(0, RUNS, 3)]
    await asyncio.gather(*sending)
    async with app.connect(url, worker=True) as here:
        ends = [await here.handle(f"talk-{n}").result(30) for n in range(0, RUNS, 3)]
    assert ends == [["hello"]] * len(ends)

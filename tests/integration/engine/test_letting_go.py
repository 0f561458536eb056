"""Runs that are let go of: many at once, in few requests, to the end of the worker."""

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


async def test_what_was_let_go_of_as_the_worker_stopped_is_nobodys(url: str, hw: Client) -> None:
    async with app.connect(url, worker=True) as here:
        await _talks(here)
        for active in list(here.engine.runs.values()):
            here.engine.let_go(active)
        sending = [asyncio.create_task(hw.send(f"token-{n}", "hello")) for n in range(0, RUNS, 3)]
    await asyncio.gather(*sending)
    called = {fence_key(f"talk-{n}") for n in range(0, RUNS, 3)}
    left = [fence for fence in await _fences(hw) if fence.key not in called]
    assert all(fence.holder is None and fence.wakes == fence.seen for fence in left), "nobody need look"
    async with app.connect(url, worker=True) as here:
        ends = [await here.handle(f"talk-{n}").result(30) for n in range(0, RUNS, 3)]
        assert len(here.engine.runs) < 5, "the others were not taken up"
    assert ends == [["hello"]] * len(ends)

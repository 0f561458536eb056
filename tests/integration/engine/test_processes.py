"""Workers as processes, and what can happen to them: every run ends right, and each result is applied once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from headwater.client import Client
from headwater.errors import StepInterrupted
from tests.integration.engine.shop import approval, blocked, careful, fan, killer, naps, sleepy, sums
from tests.integration.engine.workers import effects_in, worker

pytestmark = pytest.mark.timeout(90)


async def until_something_happens(effects: Path, what: str, number: int = 1) -> None:
    async with asyncio.timeout(20):
        while sum(effect[0] == what for effect in effects_in(effects)) < number:
            await asyncio.sleep(0.02)


async def test_a_run_started_here_is_executed_there(url: str, hw: Client) -> None:
    with worker(url):
        run = await hw.start(sums, 5)
        assert await run.result(20) == 10


async def test_a_killed_worker_leaves_its_runs_to_another_at_once(
    url: str, hw: Client, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    with worker(url, "--lease", "30", effects=effects) as first:
        runs = await asyncio.gather(*[hw.start(sleepy, 2, 0.7) for _ in range(20)])
        await until_something_happens(effects, "slow", 20)
        first.kill()
    with worker(url, "--lease", "30", effects=effects) as second:
        # the lease is long: it is seen that the process is gone
        results = await asyncio.gather(*[run.result(20) for run in runs])
        assert all(result[1] == second.pid for result in results)
    keys = Counter(key for _, key, _, _ in effects_in(effects))
    assert len(keys) == 40
    assert max(keys.values()) <= 2


async def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_comes_back(
    url: str, hw: Client, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    with worker(url, "--lease", "1", effects=effects) as frozen:
        run = await hw.start(sleepy, 3, 0.3)
        await until_something_happens(effects, "slow")
        frozen.freeze()
        with worker(url, "--lease", "1", effects=effects):
            result = await run.result(30)
            assert result[-1] != frozen.pid
            frozen.thaw()
            again = await hw.start(sums, 3)
            assert await again.result(20) == 3
            state = await run.state()
            assert state.output == result


async def test_a_step_that_blocks_its_worker_is_done_by_another(url: str, hw: Client, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    with (
        worker(url, "--lease", "1", effects=effects),
        worker(url, "--lease", "1", effects=effects),
    ):
        run = await hw.start(blocked, 4.0)
        assert await run.result(30) == 2
    assert len({key for _, key, _, _ in effects_in(effects)}) == 1


async def test_queued_steps_use_all_workers_and_outlive_one(url: str, hw: Client, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    with worker(url, effects=effects) as first, worker(url, effects=effects) as second:
        run = await hw.start(fan, 40, 0.2)
        await until_something_happens(effects, "far", 12)
        first.kill()
        assert await run.result(30) == sum(range(40))
        pids = {pid for _, _, _, pid in effects_in(effects)}
        assert pids == {first.pid, second.pid}


async def test_a_step_that_may_run_once_is_not_begun_again(url: str, hw: Client, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    with worker(url, effects=effects) as first:
        run = await hw.start(careful, 60.0)
        await until_something_happens(effects, "once")
        first.kill()
        with worker(url, effects=effects), pytest.raises(StepInterrupted, match="at most once"):
            await run.result(20)
    assert len(effects_in(effects)) == 1


async def test_timers_fire_wherever_there_is_a_worker(url: str, hw: Client) -> None:
    with worker(url) as first:
        runs = await asyncio.gather(*[hw.start(naps, 3, 0.3) for _ in range(10)])
        await asyncio.sleep(0.4)
        with worker(url):
            first.kill()
            assert await asyncio.gather(*[run.result(20) for run in runs]) == [3] * 10


async def test_a_run_that_kills_its_workers_is_held_and_the_innocent_end(
    url: str, hw: Client, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    innocent = [await hw.start(naps, 2, 0.2) for _ in range(30)]
    waiting = [await hw.start(approval, f"t{n}") for n in range(5)]
    guilty = await hw.start(killer, id="guilty")
    async with asyncio.timeout(80):
        while (await guilty.state()).status != "held":
            with worker(url, "--lease", "2", effects=effects) as process:
                while process.process.poll() is None and (await guilty.state()).status != "held":
                    await asyncio.sleep(0.05)
    with worker(url, effects=effects):
        assert await asyncio.gather(*[run.result(30) for run in innocent]) == [2] * 30
        for n, run in enumerate(waiting):
            await hw.send(f"t{n}", "yes")
            assert await run.result(20) == "yes"
    state = await guilty.state()
    assert state.status == "held"
    assert "alone" in str(state.held)
    await guilty.cancel()
    assert (await guilty.state()).status == "cancelled"

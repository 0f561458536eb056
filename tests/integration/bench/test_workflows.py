"""The benchmarks of workflows measure what they say: whole runs, the floor below them, and no result twice."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import run
from bench.harness import Scale
from bench.workflows import CASES, processes
from bench.workflows.floor import Floor, Row, open_floor
from bench.workflows.places import size

ROOT = Path(__file__).parents[3]
TINY = Scale(rounds=1, events=200, seconds=1, hold=0.1)


def test_every_goal_of_workflows_has_a_case() -> None:
    keys = [case.key for case in CASES]
    assert len(keys) == len(set(keys))
    both = [
        "steps10_c200",
        "start_latency",
        "long_history",
        "wait_storm",
        "replay",
        "recovery",
        "waiting_runs",
    ]
    expected = {f"{backend}.{name}" for backend in ("postgres", "sqlite") for name in both}
    assert expected | {"postgres.steps10_c1", "postgres.fanout"} <= set(keys)


@pytest.mark.parametrize(
    "key", ["sqlite.long_history", "sqlite.replay", "sqlite.wait_storm", "memory.steps10_c200"]
)
def test_a_case_reports_a_figure_and_its_goal(key: str) -> None:
    (printed,) = json.loads(report.as_json(run([case for case in CASES if case.key == key], TINY))).values()
    assert printed.get("error") is None
    assert printed["ours"] > 0
    assert (printed["reached"] is None) == (printed["goal"] == "none")


def test_without_the_peer_a_goal_against_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find_spec", lambda _: None)
    (result,) = run([case for case in CASES if case.key == "sqlite.steps10_c200"], TINY).values()
    assert result.error == ""
    assert (result.peer, result.reached) == (None, None)
    assert result.vs_limit > 0
    assert "make bench-workflows" in result.note


def test_a_killed_worker_is_followed_by_another_and_no_result_comes_twice() -> None:
    (result,) = run([case for case in CASES if case.key == "sqlite.recovery"], TINY).values()
    assert result.error == ""
    assert result.also["same_host"] < result.ours


async def test_the_floor_writes_what_has_queued_in_one_flush_and_waits_for_each_append() -> None:
    flushes: list[list[Row]] = []

    async def flush(rows: list[Row]) -> None:
        flushes.append(rows)
        await asyncio.sleep(0)

    floor = Floor(flush)
    await asyncio.gather(floor.workflow(), floor.workflow())
    assert [[(run, version) for run, version, _ in rows] for rows in flushes] == [
        [(1, version), (2, version)] for version in range(12)
    ]


async def test_the_floor_is_durable_rows(tmp_path: Path) -> None:
    async with open_floor("sqlite", f"sqlite:///{tmp_path / 'bare.db'}") as floor:
        assert await floor.rate(3, 2) > 0
    import apsw

    assert apsw.Connection(str(tmp_path / "bare.db")).execute("SELECT count(*) FROM bare_floor").get == 36


def test_sizes_follow_the_scale() -> None:
    assert size(Scale.full(), 1000) == 1000
    assert size(Scale.quick(), 1000) == 125
    assert size(TINY, 1000, least=50) == 50


def test_the_command_prints_one_json_object() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "workflows", "--quick", "--json", "--only", "sqlite.long_history"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert list(json.loads(done.stdout)) == ["sqlite.long_history"]

"""The figures are what they claim: sides in turn, ratios pair by pair, and the fields that readers expect."""

import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bench import peer, report
from bench.__main__ import main, run
from bench.harness import Case, Result, Scale, compare
from bench.log import CASES
from bench.log.append import appends
from bench.orders import ORDERS, OrderPlaced, rows
from bench.places import Places
from headwater import open_log
from headwater.events.canonical import encode_event

ROOT = Path(__file__).parents[3]
TINY = Scale(rounds=1, events=500, seconds=1, hold=0.1)
CHOSEN = [
    "sqlite.append_c32",
    "sqlite.append_batch100",
    "sqlite.read_raw",
    "sqlite.read_typed",
    "memory.append_c32",
]


def figures(*values: float) -> Callable[[], Coroutine[Any, Any, float]]:
    left = iter(values)

    async def sample() -> float:
        return next(left)

    return sample


async def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    compared = await compare(3, ours=figures(100, 50, 10), limit=figures(50, 100, 10))
    assert compared.ratio("ours", "limit") == 1.0
    assert (compared.median("ours"), compared.median("limit")) == (50, 50)


async def test_the_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], Coroutine[Any, Any, float]]:
        async def sample() -> float:
            order.append(name)
            return 1.0

        return sample

    await compare(2, ours=side("ours"), limit=side("limit"), peer=None)
    assert order == ["ours", "limit", "ours", "limit"]


def test_every_goal_of_the_log_has_a_case() -> None:
    keys = [case.key for case in CASES]
    assert len(keys) == len(set(keys))
    both = [
        "read_raw",
        "read_typed",
        "subscribe_latency",
        "subscribe_latency_no_hints",
        "append_old_snapshot",
    ]
    expected = {
        *(f"postgres.{name}" for name in ["append_c32", "append_c256", "append_batch100", *both]),
        *(f"sqlite.{name}" for name in ["append_c1", "append_c32", "append_batch100", *both]),
    }
    assert expected <= set(keys)


@pytest.mark.parametrize("key", CHOSEN)
def test_a_case_reports_us_the_limit_and_the_goal(key: str) -> None:
    results = run([case for case in CASES if case.key == key], TINY)
    (printed,) = json.loads(report.as_json(results)).values()
    assert printed.get("error") is None
    assert printed["ours"] > 0
    assert printed["limit"] > 0
    assert printed["vs_limit"] > 0
    unknown = printed["goal"] == "none" or ("peer" in printed["goal"] and printed.get("peer") is None)
    assert (printed["reached"] is None) == unknown
    assert {"unit", "goal"} <= printed.keys()
    assert key in report.as_table(results)


def test_a_missing_peer_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "installed", lambda _="": False)
    (result,) = run([case for case in CASES if case.key == "sqlite.read_raw"], TINY).values()
    assert result.peer is None
    assert result.vs_limit is not None
    assert "make bench" in result.note


def test_a_case_that_fails_says_so_and_the_others_go_on() -> None:
    async def broken(places: Places, scale: Scale) -> Result:
        raise OSError("no disk")

    case = Case("sqlite.broken", "none", "events/s", broken)
    results = run([case, *[case for case in CASES if case.key == "memory.append_batch100"]], TINY)
    assert json.loads(report.as_json(results))["sqlite.broken"]["error"] == "OSError: no disk"
    assert results["memory.append_batch100"].ours > 0


def test_an_unknown_case_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--only", "oracle.*"]) == 2
    assert "oracle.*" in capsys.readouterr().err


async def test_both_sides_store_the_same_bytes() -> None:
    made = list(rows(10, 4))
    assert [row.data for row in made] == [encode_event(order) for order in ORDERS[:10]]
    assert [(row.stream_id[-1], row.version) for row in made[:6]] == [
        ("0", 1),
        ("1", 1),
        ("2", 1),
        ("3", 1),
        ("0", 2),
        ("1", 2),
    ]


async def test_as_many_events_are_appended_as_are_counted() -> None:
    async with open_log("memory:", OrderPlaced) as log:
        await appends(log, 300, 3, 10)
        assert (await log.backend.tail(0)).position == 300


def test_the_command_prints_one_json_object() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "log", "--quick", "--json", "--only", "memory.append_batch100"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert list(json.loads(done.stdout)) == ["memory.append_batch100"]

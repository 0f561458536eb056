"""Crash points of every backend are taken by real processes, a sample of them, and in `make full` every one; and every
planted fault is found by one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.testing.crash_points import CrashPointFailed, Sweep
from tests.chaos.grounds import POSTGRES, SQLITE, drop, fast_folder, postgres_ground
from tests.scale import sampled
from tests.servers.postgres import Template

PROCESSES = 2
DURABLE = ("acknowledging", "COMMIT", "syncing")

Sqlite = Callable[..., Sweep]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = fast_folder(tmp_path)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def sqlite(folder: Path) -> Sqlite:
    def sweep(*, power: bool = False, plant: str | None = None) -> Sweep:
        grounds = [{"folder": str(folder / f"log-{n}"), "power": power} for n in range(PROCESSES)]
        return Sweep(SQLITE, grounds, folder, plant=plant and f"tests.chaos.planted:{plant}")

    return sweep


@pytest.fixture
def postgres_grounds(postgres_template: Template) -> Iterator[list[dict[str, Any]]]:
    grounds = [postgres_ground(postgres_template) for _ in range(PROCESSES)]
    yield grounds
    for ground in grounds:
        drop(postgres_template, ground)


def is_in_sample(name: str) -> bool:
    return sampled(name, 4)


def is_about_durability(name: str) -> bool:
    return any(word in name for word in DURABLE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sqlite_loses_nothing_at_any_point_where_its_process_is_killed(sqlite: Sqlite) -> None:
    swept = sqlite().run(is_in_sample)
    assert swept.taken == [name for name in swept.points if is_in_sample(name)]
    assert len(swept.points) > 900


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sqlite_loses_nothing_acknowledged_when_the_power_fails(sqlite: Sqlite) -> None:
    swept = sqlite(power=True).run(is_about_durability)
    assert swept.taken == [name for name in swept.points if is_about_durability(name)]
    assert len(swept.taken) > 100


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_postgres_loses_nothing_at_any_point_where_its_client_is_killed(
    postgres_grounds: list[dict[str, Any]], folder: Path
) -> None:
    swept = Sweep(POSTGRES, postgres_grounds, folder).run(is_in_sample)
    assert swept.taken == [name for name in swept.points if is_in_sample(name)]
    assert len(swept.points) > 300


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("plant", "act", "found"),
    [
        ("sqlite_commits_after_the_answer", "one_event", "an acknowledged event is not in the log"),
        ("sqlite_writes_side_rows_in_another_transaction", "side_rows", "KeyNotHeld"),
        (
            "sqlite_imports_the_name_later",
            "an_import: after COMMIT",
            "is not what an undisturbed life leaves",
        ),
        ("payloads_are_stored_after_the_append", "a_large_payload", "large payload"),
    ],
)
def test_a_fault_planted_in_sqlite_is_found(sqlite: Sqlite, plant: str, act: str, found: str) -> None:
    with pytest.raises(CrashPointFailed, match=found) as raised:
        sqlite(plant=plant).run(lambda name: name.startswith(act))
    assert raised.value.number, "found without a crash"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_commit_that_is_not_synced_is_found_by_a_power_failure_only(sqlite: Sqlite, folder: Path) -> None:
    plant = "sqlite_does_not_sync_commits"

    def acknowledged(name: str) -> bool:
        return name == "one_event: after acknowledging event"

    sqlite(plant=plant).run(acknowledged)
    shutil.rmtree(folder)
    with pytest.raises(CrashPointFailed, match="an acknowledged event is not in the log"):
        sqlite(power=True, plant=plant).run(acknowledged)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("plant", "act", "found"),
    [
        ("postgres_commits_after_the_answer", "one_event", "an acknowledged event is not in the log"),
        ("postgres_writes_side_rows_in_another_transaction", "side_rows", "KeyNotHeld|not enough values"),
        ("payloads_are_stored_after_the_append", "a_large_payload", "large payload"),
    ],
)
def test_a_fault_planted_in_postgres_is_found(
    postgres_grounds: list[dict[str, Any]], folder: Path, plant: str, act: str, found: str
) -> None:
    sweep = Sweep(POSTGRES, postgres_grounds, folder, plant=f"tests.chaos.planted:{plant}")
    with pytest.raises(CrashPointFailed, match=found) as raised:
        sweep.run(lambda name: name.startswith(act))
    assert raised.value.number, "found without a crash"


def test_a_process_that_does_not_die_where_it_should_fails_the_sweep(sqlite: Sqlite) -> None:
    with pytest.raises(CrashPointFailed, match="it did not die there"):
        sqlite(plant="nobody_dies").run(lambda name: name.startswith("one_event"))

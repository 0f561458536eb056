"""The real engine in worlds where everything else fails: it keeps its promises, and planted bugs are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from headwater.testing.simulation import Setup, SimulationFailure, simulate, sweep
from headwater.testing.simulation.engine_mutants import ENGINE_MUTANTS
from headwater.testing.simulation.storage import Kept
from headwater.testing.simulation.world import Mode
from tests.scale import scaled

MEMORY_SEEDS = scaled(150, 60)
SQLITE_SEEDS = 6
MOST = 300
SEEDS = (1, 2)
PROGRAM = """
import sys
from headwater.testing.simulation import Setup, simulate
mode, *seeds = sys.argv[1:]
print(*[simulate(Setup(int(seed), mode, workload="runs")).fingerprint for seed in seeds])
"""


def worlds() -> Iterator[Setup]:
    kept: tuple[tuple[Kept, int], ...] = (("memory", MEMORY_SEEDS), ("sqlite", SQLITE_SEEDS))
    for storage, seeds in kept:
        for seed in range(seeds):
            yield Setup(seed, "fifo", storage, workload="runs")
            yield Setup(seed, "shuffled", storage, workload="runs")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_end_right_in_every_world() -> None:
    swept = sweep(worlds(), jobs=2, stop_at_failure=True)
    assert not swept.failures, swept.failures[0].report
    assert swept.simulations == 2 * (MEMORY_SEEDS + SQLITE_SEEDS)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutant", ENGINE_MUTANTS)
def test_a_bug_planted_into_the_engine_is_found(mutant: str) -> None:
    assert find(mutant), f"{MOST} seeds do not find {mutant}: {ENGINE_MUTANTS[mutant].what}"


def find(mutant: str) -> bool:
    for seed in range(MOST):
        mode: Mode = "shuffled" if seed % 2 else "fifo"
        try:
            setup = Setup(seed, mode, ENGINE_MUTANTS[mutant].storage, workload="runs")
            simulate(setup, mutant=mutant, shorten=False)
        except SimulationFailure as failure:
            return f"--workload runs --mutant {mutant}" in failure.command
    return False


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["fifo", "shuffled"])
def test_a_seed_gives_the_same_runs_in_every_process(mode: Mode) -> None:
    here = [simulate(Setup(seed, mode, workload="runs")).fingerprint for seed in SEEDS]
    for hash_seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, mode, *map(str, SEEDS)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        assert done.stdout.split() == here

"""Worlds of a workload, and whether some of them find a bug that is planted into it."""

from __future__ import annotations

from headwater.testing.simulation import Setup, SimulationFailure, simulate
from headwater.testing.simulation.storage import Kept
from headwater.testing.simulation.world import Mode, Worked

MODES: tuple[Mode, ...] = ("fifo", "shuffled")
MOST = 200


def worlds(workload: Worked, storage: Kept, seeds: int) -> list[Setup]:
    return [Setup(seed, mode, storage, workload=workload) for seed in range(seeds) for mode in MODES]


def found(workload: Worked, mutant: str) -> bool:
    for setup in worlds(workload, "memory", MOST):
        try:
            simulate(setup, mutant=mutant, shorten=False)
        except SimulationFailure as failure:
            return f"--workload {workload} --mutant {mutant}" in failure.command
    return False

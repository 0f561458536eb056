"""A seed reproduces a world to the byte: in this process, in another, whatever its hashes and addresses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headwater.testing.simulation import Setup, simulate
from headwater.testing.simulation.storage import Kept
from headwater.testing.simulation.world import Mode

SEEDS = (1, 2, 3)
PROGRAM = """
import sys
from headwater.testing.simulation import Setup, simulate
mode, kept, *seeds = sys.argv[1:]
print(*[simulate(Setup(int(seed), mode, kept)).fingerprint for seed in seeds])
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kept", ["memory", "sqlite"])
@pytest.mark.parametrize("mode", ["fifo", "shuffled"])
def test_a_seed_gives_the_same_world_in_every_process(mode: Mode, kept: Kept) -> None:
    here = [simulate(Setup(seed, mode, kept)).fingerprint for seed in SEEDS]
    assert here == [simulate(Setup(seed, mode, kept)).fingerprint for seed in SEEDS]
    for hash_seed in ("0", "4711"):
        assert elsewhere(hash_seed, mode, kept) == here


def test_seeds_and_modes_give_different_worlds() -> None:
    worlds = [Setup(seed, mode) for seed in SEEDS for mode in ("fifo", "shuffled")]
    assert len({simulate(world).fingerprint for world in worlds}) == len(worlds)


def elsewhere(hash_seed: str, mode: str, kept: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, kept, *map(str, SEEDS)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout.split()

"""Worlds in which the real log runs and everything else fails: some hundreds, and two thousand in `make full`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.testing.simulation import Setup, sweep
from tests.scale import scaled

MEMORY_SEEDS = scaled(900, 200)
SQLITE_SEEDS = scaled(100, 25)


def worlds() -> Iterator[Setup]:
    for seed in range(MEMORY_SEEDS):
        yield Setup(seed, "fifo", "memory")
        yield Setup(seed, "shuffled", "memory")
    for seed in range(SQLITE_SEEDS):
        yield Setup(seed, "fifo", "sqlite")
        yield Setup(seed, "shuffled", "sqlite")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_log_keeps_its_promises_in_every_world() -> None:
    swept = sweep(worlds(), jobs=2, stop_at_failure=True)
    assert not swept.failures, swept.failures[0].report
    assert swept.simulations == 2 * (MEMORY_SEEDS + SQLITE_SEEDS)

"""The real reactors in worlds that fail: each event has its effect, in order, under one key; planted bugs are found."""

from __future__ import annotations

import pytest

from headwater.testing.simulation import Setup, simulate, sweep
from headwater.testing.simulation.reactor_mutants import REACTOR_MUTANTS
from headwater.testing.simulation.storage import Kept
from tests.simulation.planted import MOST, found, worlds


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("storage", "seeds"), [("memory", 100), ("sqlite", 20)])
def test_every_event_has_its_effect_in_every_world(storage: Kept, seeds: int) -> None:
    swept = sweep(worlds("reactors", storage, seeds), stop_at_failure=True)
    assert not swept.failures, swept.failures[0].report
    assert swept.simulations == 2 * seeds


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", REACTOR_MUTANTS)
def test_a_bug_planted_into_reactors_is_found(mutant: str) -> None:
    assert found("reactors", mutant), f"{MOST} seeds do not find {mutant}: {REACTOR_MUTANTS[mutant].what}"


def test_a_seed_gives_the_same_world_again() -> None:
    setup = Setup(7, "shuffled", workload="reactors")
    assert simulate(setup).fingerprint == simulate(setup).fingerprint

"""The real projector in worlds that fail: states are the fold of the log, and planted bugs are found."""

from __future__ import annotations

import pytest

from headwater.testing.simulation import Setup, simulate, sweep
from headwater.testing.simulation.projection_mutants import PROJECTION_MUTANTS
from headwater.testing.simulation.storage import Kept
from tests.simulation.planted import MOST, found, worlds


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("storage", "seeds"), [("memory", 30), ("sqlite", 3)])
def test_states_are_the_fold_of_the_log_in_every_world(storage: Kept, seeds: int) -> None:
    swept = sweep(worlds("projections", storage, seeds), stop_at_failure=True)
    assert not swept.failures, swept.failures[0].report
    assert swept.simulations == 2 * seeds


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", PROJECTION_MUTANTS)
def test_a_bug_planted_into_projections_is_found(mutant: str) -> None:
    assert found("projections", mutant), (
        f"{MOST} seeds do not find {mutant}: {PROJECTION_MUTANTS[mutant].what}"
    )


def test_a_seed_gives_the_same_world_again() -> None:
    setup = Setup(7, "shuffled", workload="projections")
    assert simulate(setup).fingerprint == simulate(setup).fingerprint

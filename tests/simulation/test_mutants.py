"""Every planted bug is found, or the simulator is too weak; and nothing of it stays behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.testing.simulation import Failure, Setup, SimulationFailure, simulate
from headwater.testing.simulation.mutants import MUTANTS

MOST = 1000


def find(mutant: str, most: int = MOST) -> SimulationFailure | None:
    for setup in setups(most):
        try:
            simulate(setup, mutant=mutant, shorten=False)
        except SimulationFailure as failure:
            return failure
    return None


def setups(most: int) -> Iterator[Setup]:
    for seed in range(most):
        yield Setup(seed, "shuffled" if seed % 2 else "fifo")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant: str) -> None:
    assert find(mutant) is not None, f"{MOST} seeds do not find {mutant}: {MUTANTS[mutant].what}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_gone_when_its_block_ends(mutant: str) -> None:
    patches = MUTANTS[mutant].patches
    before = [getattr(patch.owner, patch.name) for patch in patches]
    with MUTANTS[mutant].planted():
        assert all(getattr(p.owner, p.name) is not b for p, b in zip(patches, before, strict=True))
    assert all(getattr(p.owner, p.name) is b for p, b in zip(patches, before, strict=True))


def test_a_failure_says_how_to_see_it_again_and_is_the_same_again() -> None:
    found = find("hint-trusted", 50)
    assert found is not None
    assert found.command in str(found)
    assert found.command.endswith(
        f"--seed {found.setup.seed} --mode {found.setup.mode} --storage memory --mutant hint-trusted"
    )
    assert fail(found.setup, "hint-trusted") == fail(found.setup, "hint-trusted") == found.failure


@pytest.mark.timeout(240)
def test_a_failure_is_shortened_to_the_faults_that_matter() -> None:
    found = next(
        f for f in (find_shortened(setup) for setup in setups(MOST)) if f is not None and f.drawn > 10
    )
    assert 1 <= len(found.faults) < found.drawn
    assert any("unknown" in fault.kind or fault.kind == "zombie" for fault in found.faults)


def find_shortened(setup: Setup) -> SimulationFailure | None:
    try:
        simulate(setup, mutant="retried-with-new-ids", shorten=False)
    except SimulationFailure as failure:
        if failure.drawn <= 10:
            return None
        with pytest.raises(SimulationFailure) as shortened:
            simulate(setup, mutant="retried-with-new-ids")
        return shortened.value
    return None


def fail(setup: Setup, mutant: str) -> Failure:
    with pytest.raises(SimulationFailure) as failed:
        simulate(setup, mutant=mutant, shorten=False)
    return failed.value.failure

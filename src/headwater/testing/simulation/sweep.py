"""Many seeds: in one process or several, until they are done or the time is over."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from headwater.testing.simulation.run import SimulationFailure, simulate
from headwater.testing.simulation.world import Setup


@dataclass(frozen=True, slots=True)
class Failed:
    """A seed that failed, as text and facts that cross processes."""

    setup: Setup
    invariant: str
    what: str
    report: str
    command: str
    faults: tuple[str, ...]
    fingerprint: str


@dataclass(slots=True)
class Swept:
    """What became of the seeds."""

    simulations: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    failures: list[Failed] = field(default_factory=list[Failed])

    @property
    def per_second(self) -> float:
        return self.simulations / self.seconds if self.seconds else 0.0

    @property
    def virtual_hours_per_minute(self) -> float:
        return self.virtual_seconds / 60 / self.seconds if self.seconds else 0.0


def sweep(
    setups: Iterable[Setup],
    *,
    mutant: str | None = None,
    minutes: float | None = None,
    jobs: int = 1,
    stop_at_failure: bool = False,
    progress: Callable[[Swept], None] | None = None,
) -> Swept:
    """Live through these worlds; what fails is shortened and collected."""
    swept, started = Swept(), time.monotonic()
    with _runner(jobs) as run:
        for outcome in run(partial(live_through, mutant=mutant), setups):
            swept.simulations += 1
            swept.seconds = time.monotonic() - started
            if isinstance(outcome, Failed):
                swept.failures.append(outcome)
            else:
                swept.virtual_seconds += outcome
            if progress:
                progress(swept)
            if (stop_at_failure and swept.failures) or (minutes and swept.seconds > minutes * 60):
                break
    return swept


def live_through(setup: Setup, *, mutant: str | None = None) -> Failed | float:
    """One world: how many virtual seconds it lived, or why it failed."""
    try:
        return simulate(setup, mutant=mutant).seconds
    except SimulationFailure as failed:
        return Failed(
            setup,
            failed.failure.invariant,
            failed.failure.what,
            str(failed),
            failed.command,
            tuple(str(fault) for fault in failed.faults),
            failed.failure.fingerprint,
        )


Run = Callable[[Callable[[Setup], Failed | float], Iterable[Setup]], Iterator[Failed | float]]


@contextmanager
def _runner(jobs: int) -> Generator[Run]:
    """Where worlds are lived through. Spawned processes get a few seeds at a time, so that one may stop."""
    if jobs <= 1:
        yield map
        return

    def in_turns(job: Callable[[Setup], Failed | float], setups: Iterable[Setup]) -> Iterator[Failed | float]:
        left = iter(setups)
        while turn := list(itertools.islice(left, jobs * 8)):
            yield from pool.map(job, turn)

    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield in_turns

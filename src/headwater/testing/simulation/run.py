"""Running seeds: one world a seed, and for one that fails, why, and how to see it again.

A failure is shortened by leaving out faults of its plan, in halves, then one by one, as long as what is left fails in
the same way. What is printed is what is needed to understand it: the faults that matter and the last steps.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from headwater.settings import redacted
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.engine_mutants import ENGINE_MUTANTS
from headwater.testing.simulation.faults import Fault, draw_faults
from headwater.testing.simulation.log_workload import LogWorkload
from headwater.testing.simulation.mutants import MUTANTS, Mutant
from headwater.testing.simulation.projection_mutants import PROJECTION_MUTANTS
from headwater.testing.simulation.projection_workload import ProjectionWorkload
from headwater.testing.simulation.reactor_mutants import REACTOR_MUTANTS
from headwater.testing.simulation.reactor_workload import ReactorWorkload
from headwater.testing.simulation.run_workload import RunWorkload
from headwater.testing.simulation.workload import Workload
from headwater.testing.simulation.world import Ended, Setup, Worked, World

Workloads = Callable[[int], Workload]
WORKLOADS: Final[Mapping[Worked, Workloads]] = {
    "log": LogWorkload,
    "runs": RunWorkload,
    "projections": ProjectionWorkload,
    "reactors": ReactorWorkload,
}
_BUGS: Final[Mapping[Worked, Mapping[str, Mutant]]] = {
    "log": MUTANTS,
    "runs": ENGINE_MUTANTS,
    "projections": PROJECTION_MUTANTS,
    "reactors": REACTOR_MUTANTS,
}
_MOST_RUNS = 60
_LINES = 24
_STEPS = 8
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a world failed."""

    invariant: str
    what: str
    facts: dict[str, Any]
    where: str
    story: tuple[str, ...]
    fingerprint: str

    def same_as(self, other: Failure) -> bool:
        return (self.invariant, self.what) == (other.invariant, other.what)


class SimulationFailure(AssertionError):
    """A seed that failed, with what is left of its faults."""

    def __init__(
        self, setup: Setup, failure: Failure, faults: Sequence[Fault], drawn: int, mutant: str | None = None
    ) -> None:
        self.setup, self.failure, self.faults, self.mutant = setup, failure, tuple(faults), mutant
        self.drawn = drawn
        self.command = command(setup, mutant)
        facts = [f"    {name}: {value!r}" for name, value in failure.facts.items()]
        lines = [
            f"{failure.invariant}: {failure.what}",
            *facts,
            f"Again: {self.command}",
            f"Faults that matter ({len(faults)} of {drawn}):",
            *[f"    {fault}" for fault in faults],
            "What happened to it:" if failure.story else "",
            *[f"    {line}" for line in failure.story],
        ]
        if failure.where:
            lines += ["Where:", failure.where]
        super().__init__("\n".join(lines))


def command(setup: Setup, mutant: str | None = None) -> str:
    """What replays a seed."""
    planted = f" --mutant {mutant}" if mutant else ""
    where = f" --url {redacted(setup.url)}" if setup.url else ""
    what = "" if setup.workload == "log" else f" --workload {setup.workload}"
    return f"headwater simulate --seed {setup.seed} --mode {setup.mode} --storage {setup.storage}{what}{where}{planted}"


def simulate(
    setup: Setup, *, workload: Workloads | None = None, mutant: str | None = None, shorten: bool = True
) -> Ended:
    """Live through one seed; raises `SimulationFailure`."""
    workload = workload or WORKLOADS[setup.workload]
    with mutants_of(setup.workload)[mutant].planted() if mutant else nullcontext():
        faults = plan(setup, workload)
        ended = _live(setup, workload, faults)
        if isinstance(ended, Ended):
            return ended
        left = _shorten(setup, workload, faults, ended) if shorten else faults
        if len(left) < len(faults):
            again = _live(setup, workload, left)
            ended = again if isinstance(again, Failure) else ended
        raise SimulationFailure(setup, ended, left, len(faults), mutant)


def mutants_of(workload: Worked) -> Mapping[str, Mutant]:
    """The bugs that a workload must find."""
    return _BUGS[workload]


def plan(setup: Setup, workload: Workloads | None = None) -> list[Fault]:
    """The faults that a seed draws."""
    work = (workload or WORKLOADS[setup.workload])(setup.seed)
    return draw_faults(setup.seed, work.processes, work.seconds, remote=setup.storage != "sqlite")


def _live(setup: Setup, workload: Workloads, faults: Sequence[Fault]) -> Ended | Failure:
    world = World(setup, workload(setup.seed), faults)
    with _overheard(world):
        try:
            return world.live()
        except InvariantBroken as broken:
            return _failure(world, broken.name, broken.what, broken.facts, "")
        except Exception as error:  # noqa: BLE001  whatever the program did not expect is a failure of it
            where = "".join(traceback.format_exception(error)[-12:])
            return _failure(world, "error", type(error).__name__, {"error": str(error)}, where)
        finally:
            world.close()


@contextmanager
def _overheard(world: World) -> Generator[None]:
    """What the program logs goes into the world's journal, and what it says of its unwinding nowhere."""
    logger, handler = logging.getLogger("headwater"), _Journal(world)
    before = logger.propagate
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Journal(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if not self._world.loop.is_closed():
            self._world.note(f"{self._world.loop.current_process()} says: {record.getMessage()}")


def _failure(world: World, name: str, what: str, facts: dict[str, Any], where: str) -> Failure:
    return Failure(name, what, facts, where, _story(world, facts), world.fingerprint([]))


def _story(world: World, facts: dict[str, Any]) -> tuple[str, ...]:
    """The lines of the journal that speak of what failed, else the last ones, and the last steps."""
    ids = [match for fact in facts.values() for match in _ID.findall(str(fact))]
    mine = [line for line in world.journal if any(id in line for id in ids)] or list(world.journal)
    steps = [f"{step:>6} {time:10.6f} step {label}" for step, time, label in world.loop.trace]
    return (*[line[:200] for line in mine[-_LINES:]], *steps[-_STEPS:])


def _shorten(setup: Setup, workload: Workloads, faults: Sequence[Fault], failure: Failure) -> Sequence[Fault]:
    """A smaller plan that fails in the same way."""
    left, size, runs = list(faults), len(faults), 0
    while size and runs < _MOST_RUNS:
        start, smaller = 0, False
        while start < len(left) and runs < _MOST_RUNS:
            fewer = left[:start] + left[start + size :]
            ended = _live(setup, workload, fewer)
            runs += 1
            if isinstance(ended, Failure) and ended.same_as(failure):
                left, smaller = fewer, True
            else:
                start += size
        if size == 1 and not smaller:
            break
        size = max(size // 2, 1) if size > 1 else (1 if smaller else 0)
    return left

"""What goes wrong in a world, and when: drawn from the seed before the world starts.

The plan is a list, so a failure is shortened by leaving faults out and running the rest again. Each seed draws which
kinds of faults it has at all: a world in which everything fails at once hides what two kinds do alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """A way to fail. `amount` is a number of steps, seconds or batches, as each says."""

    CRASH = "crash"  # after so many steps of the world; it is restarted
    PAUSE = "pause"  # for so many seconds
    RETRY = "retry"  # the next batches are not written, and that is known
    UNKNOWN_BEFORE = "unknown-before"  # the next batches are lost on their way, and their outcome with them
    UNKNOWN_AFTER = "unknown-after"  # the next batches are written, but the outcome is lost
    ZOMBIE = "zombie"  # the outcomes of the next two batches are lost, and they arrive so many seconds later
    FULL = "disk-full"  # for so many seconds
    FULL_ONCE = "disk-full-once"  # for the next batches
    REFUSE = "refuse"  # for so many seconds batches of more than one call are refused for good
    UNAVAILABLE = "unavailable"  # for so many seconds
    SLOW = "slow"  # for so many seconds
    CLOCK = "clock"  # the process's clock is set by so many seconds
    DATABASE_CLOCK = "database-clock"  # the database's clock is set by so many seconds
    DEAF = "deaf"  # for so many seconds it hears no hint


_REMOTE_ONLY: Final = {Kind.ZOMBIE}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    number: int
    at: float
    kind: Kind
    process: str
    amount: float

    def __str__(self) -> str:
        return f"#{self.number} at {self.at:.3f} {self.kind} {self.process} {self.amount:.3f}"


def draw_faults(seed: int, processes: Sequence[str], seconds: float, *, remote: bool) -> list[Fault]:
    """The plan of a seed."""
    chance = Random(f"faults {seed}")
    possible = [kind for kind in Kind if remote or kind not in _REMOTE_ONLY]
    kinds = chance.sample(possible, chance.choice((1, 2, 3, 5, len(possible))))
    moments: list[tuple[float, str]] = []
    for _ in range(chance.choice((0, 3, 10, 30))):  # trouble comes in crowds
        at, process = chance.uniform(0, seconds), chance.choice(processes)
        crowd = range(chance.choice((1, 1, 2, 4)))
        moments += [(at + chance.choice((0.0, 0.01, 0.1)) * chance.random(), process) for _ in crowd]
    return [
        _draw(number, at, chance.choice(kinds), process, chance)
        for number, (at, process) in enumerate(sorted(moments))
    ]


def _draw(number: int, at: float, kind: Kind, process: str, chance: Random) -> Fault:
    match kind:
        case Kind.CRASH:
            amount: float = chance.randint(0, 60)
        case Kind.RETRY | Kind.UNKNOWN_BEFORE | Kind.UNKNOWN_AFTER | Kind.FULL_ONCE:
            amount = chance.choice((1, 1, 1, 2, 4))
        case Kind.CLOCK | Kind.DATABASE_CLOCK:
            amount = chance.choice((-1, 1)) * chance.choice((0.5, 60.0, 86_400.0))
        case Kind.ZOMBIE:
            amount = chance.choice((0.001, 0.02, 0.1, 0.5, 2.0, 10.0))
        case _:
            amount = chance.choice((0.05, 0.3, 1.0, 5.0))
    return Fault(number, at, kind, process, amount)

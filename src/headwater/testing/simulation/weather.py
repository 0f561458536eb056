"""What a process meets at the moment: the faults that are upon it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.testing.simulation.faults import Fault, Kind


class Fate(NamedTuple):
    """What becomes of one batch."""

    kind: Kind
    amount: float


@dataclass(slots=True)
class Weather:
    """The troubles of one process; they outlive it."""

    now: Callable[[], float]
    until: dict[Kind, float] = field(default_factory=dict[Kind, float])
    fates: deque[Fate] = field(default_factory=deque[Fate])
    refusals: int = 0

    def strike(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.RETRY | Kind.UNKNOWN_BEFORE | Kind.UNKNOWN_AFTER | Kind.FULL_ONCE:
                self.fates.extend([Fate(fault.kind, 0)] * int(fault.amount))
            case Kind.ZOMBIE:
                self.fates.extend([Fate(fault.kind, fault.amount), Fate(fault.kind, fault.amount)])
            case _:
                self.until[fault.kind] = self.now() + fault.amount

    def has(self, kind: Kind) -> bool:
        return self.until.get(kind, 0.0) > self.now()

    def next_fate(self) -> Fate | None:
        return self.fates.popleft() if self.fates else None

    def clear(self) -> None:
        self.until.clear()
        self.fates.clear()

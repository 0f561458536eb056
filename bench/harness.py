"""How things are measured: samples of the sides taken in turn, medians, and ratios pair by pair.

A shared machine is fast in one second and slow in the next. So one round takes a sample of every side, one straight
after the other, and a ratio is the median of the rounds' ratios, not the ratio of the medians.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.places import Places

Sample = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    events: int
    """Events of a sample with one event a call; batches and reads take several times as many."""
    seconds: float
    """What a sample should take at most; slow machines so have smaller samples."""
    hold: float
    """Seconds for which an old snapshot is held before it is measured."""

    @classmethod
    def quick(cls) -> Scale:
        return cls(rounds=3, events=2_500, seconds=0.4, hold=10)

    @classmethod
    def full(cls) -> Scale:
        return cls(rounds=5, events=20_000, seconds=3, hold=10)

    def sample(self, *rates: float, most: int | None = None, step: int = 1) -> int:
        """How many events a sample has, given the rates of a warm-up: a multiple of `step`."""
        events = min(self.events if most is None else most, int(min(rates) * self.seconds))
        return max(events // step, 1) * step


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    key: str
    goal: str
    unit: str
    measure: Callable[[Places, Scale], Coroutine[Any, Any, Result]]


@dataclass
class Result:
    """Figures in the goal's unit. A `vs_` above 1 means that we are the better side, in rates and in times."""

    unit: str
    goal: str
    ours: Any = None
    limit: Any = None
    vs_limit: Any = None
    peer: float | None = None
    vs_peer: float | None = None
    reached: bool | None = None
    also: dict[str, Any] = field(default_factory=dict[str, Any])
    """Other figures of the case, such as `limit_minimal`."""
    note: str = ""
    error: str = ""

    @classmethod
    def failed(cls, case: Case, error: BaseException) -> Result:
        return cls(case.unit, case.goal, error=f"{type(error).__name__}: {error}")


@dataclass
class Compared:
    """The samples of each side, in rounds."""

    samples: dict[str, list[float]]

    def median(self, side: str) -> float:
        return median(self.samples[side])

    def ratio(self, one: str, other: str) -> float:
        pairs = zip(self.samples[one], self.samples[other], strict=True)
        return median(a / b for a, b in pairs)

    def has(self, side: str) -> bool:
        return side in self.samples


async def compare(rounds: int, **sides: Sample | None) -> Compared:
    """Sample the sides in turn. A side that is None (a peer that is not installed) is left out."""
    there = {name: side for name, side in sides.items() if side is not None}
    samples: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, side in there.items():
            gc.collect()
            samples[name].append(await side())
    return Compared(samples)


async def rate(events: int, work: Callable[[], Awaitable[None]]) -> float:
    """Events a second."""
    started = time.perf_counter()
    await work()
    return events / (time.perf_counter() - started)


async def together(callers: int, caller: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(number))


def rate_result(case_unit: str, goal: str, compared: Compared, *, reached: bool, **also: Any) -> Result:
    """The usual shape: events a second of ours, the limit and perhaps a peer."""
    return Result(
        unit=case_unit,
        goal=goal,
        ours=compared.median("ours"),
        limit=compared.median("limit"),
        vs_limit=compared.ratio("ours", "limit"),
        peer=compared.median("peer") if compared.has("peer") else None,
        vs_peer=compared.ratio("ours", "peer") if compared.has("peer") else None,
        reached=reached,
        also={
            **{n: compared.median(n) for n in compared.samples if n not in {"ours", "limit", "peer"}},
            **also,
        },
    )


def new_runner() -> asyncio.Runner:
    """An event loop for one case; uvloop's where there is one, for every side."""
    if sys.platform != "win32":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner()

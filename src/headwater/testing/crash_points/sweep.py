"""All crash points of a backend: counted by a life without a crash, then each one taken.

For every point, a new process plays the scene and is killed there; a second one goes on. The sweep fails when a
process does not die where the count says, so none is skipped in silence.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from headwater.testing.crash_points.nursery import Ended, Nursery

_LIVES = "headwater.testing.crash_points.lives"


class CrashPointFailed(AssertionError):
    """A process that died at this point left something wrong behind."""

    def __init__(self, number: int, name: str, said: str) -> None:
        super().__init__(f"After death at point {number} ({name}):\n{said}")
        self.number, self.name, self.said = number, name, said


class Swept(NamedTuple):
    """The points in order, and those that were taken."""

    points: Sequence[str]
    taken: Sequence[str]


def _all(_: str) -> bool:
    return True


class Sweep:
    """Takes the points of `stage` (`module:Class`), on several grounds at once: the arguments of one stage each.

    `plant` (`module:function`) is called in every child before anything else: a fault that must be found.
    """

    def __init__(
        self, stage: str, grounds: Sequence[Mapping[str, Any]], folder: Path, *, plant: str | None = None
    ) -> None:
        self._stage, self._grounds, self._plant = stage, grounds, plant
        self._expected = folder / "expected.json"
        self._folders = [folder / f"ground-{number}" for number in range(len(grounds))]
        for ground in self._folders:
            ground.mkdir(parents=True)
        self._stop = False

    def run(self, wanted: Callable[[str], bool] = _all) -> Swept:
        """Count the points and take those that are wanted, by name; raises for the first that fails."""
        with Nursery(self._folders[0]) as nursery:
            points = self._count(nursery)
        numbers = _Shared(number for number, name in enumerate(points, start=1) if wanted(name))
        with ThreadPoolExecutor(len(self._grounds)) as threads:
            work = [
                threads.submit(self._take, ground, numbers, points) for ground in range(len(self._grounds))
            ]
            taken = sorted(number for done in work for number in done.result())
        return Swept(points, [points[number - 1] for number in taken])

    def _count(self, nursery: Nursery) -> list[str]:
        """A life without a crash, twice: the same points, and what everything must look like in the end."""
        names: list[str] = []
        for _ in range(2):
            ended = self._live(nursery, 0, 0)
            found: list[str] = json.loads(self._points(0).read_text()) if not ended.code else []
            if ended.code or (names and found != names):
                raise CrashPointFailed(
                    0, "none", ended.said or f"two runs pass other points:\n{names}\n{found}"
                )
            names = found
        ended = self._go_on(nursery, 0)
        if ended.code:
            raise CrashPointFailed(0, "none", ended.said)
        return names

    def _take(self, ground: int, numbers: Iterable[int], points: Sequence[str]) -> list[int]:
        taken: list[int] = []
        with Nursery(self._folders[ground]) as nursery:
            for number in numbers:
                if self._stop:
                    break
                try:
                    self._die_and_go_on(nursery, ground, number, points)
                except BaseException:
                    self._stop = True
                    raise
                taken.append(number)
        return taken

    def _die_and_go_on(self, nursery: Nursery, ground: int, number: int, points: Sequence[str]) -> None:
        name = points[number - 1]
        ended = self._live(nursery, ground, number)
        if ended.code != -signal.SIGKILL:
            raise CrashPointFailed(
                number, name, f"it did not die there, but ended with {ended.code}: {ended.said}"
            )
        passed = json.loads(self._points(ground).read_text())
        if passed != points[:number]:
            raise CrashPointFailed(number, name, f"it passed other points: {passed[-3:]}")
        ended = self._go_on(nursery, ground)
        if ended.code:
            raise CrashPointFailed(number, name, ended.said)

    def _live(self, nursery: Nursery, ground: int, number: int) -> Ended:
        return nursery.run(
            f"{_LIVES}:live", **self._common(ground), die_at=number, points=str(self._points(ground))
        )

    def _go_on(self, nursery: Nursery, ground: int) -> Ended:
        return nursery.run(f"{_LIVES}:go_on", **self._common(ground), expected=str(self._expected))

    def _common(self, ground: int) -> dict[str, Any]:
        return {
            "stage": self._stage,
            "arguments": dict(self._grounds[ground]),
            "plant": self._plant,
            "promises": str(self._folders[ground] / "promises"),
        }

    def _points(self, ground: int) -> Path:
        return self._folders[ground] / "points"


class _Shared:
    """An iterator that several threads draw from."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers, self._lock = numbers, threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)

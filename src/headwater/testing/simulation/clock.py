"""Clocks of a simulated world: virtual time, wrong by what somebody has set them to."""

from __future__ import annotations

from headwater.testing.simulation.loop import SimulationLoop

_START = 1_700_000_000_000_000


class SimulatedClock:
    """A wall clock over the loop's time. It may be set forward and back."""

    def __init__(self, loop: SimulationLoop) -> None:
        self._loop = loop
        self._wrong_by = self._furthest = 0

    def now_us(self) -> int:
        return _START + int(self._loop.time() * 1_000_000) + self._wrong_by

    def jump(self, seconds: float) -> None:
        self._wrong_by += int(seconds * 1_000_000)
        self._furthest = max(self._furthest, self._wrong_by)

    def catch_up(self) -> None:
        """Be set to where it has been furthest ahead, so that what was to come by its time comes."""
        self._wrong_by = self._furthest

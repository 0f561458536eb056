"""Runs that have something to say which nobody waits for: it is sent in a moment, if nothing else has taken it along.

A busy loop is late: when the moment has passed, steps that were begun before it may not have had their turn yet. So
what lingers is sent only after a pass of the loop in which such a step could end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from headwater.engine.active import ActiveRun

_MOMENT: Final = 0.005
_LEAST: Final = 0.001


class Lingering:
    """Those runs, in the order in which they began to linger."""

    def __init__(self) -> None:
        self._runs: deque[tuple[float, ActiveRun]] = deque()

    def add(self, active: ActiveRun) -> None:
        """Send what it has to say in a moment."""
        if active.lingers:
            return
        active.lingers = True
        loop = asyncio.get_running_loop()
        if not self._runs:
            loop.call_later(_MOMENT, self._look)
        self._runs.append((loop.time(), active))

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._flush, loop.time() - _MOMENT)

    def _flush(self, until: float) -> None:
        runs = self._runs
        while runs and runs[0][0] <= until:
            _, active = runs.popleft()
            active.lingers = False
            if not active.gone:
                active.flush()
        if runs:
            loop = asyncio.get_running_loop()
            loop.call_later(max(_LEAST, runs[0][0] + _MOMENT - loop.time()), self._look)

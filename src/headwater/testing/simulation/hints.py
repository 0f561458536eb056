"""Hints between simulated processes: lost, doubled, late, in any order, and sometimes about nothing."""

from __future__ import annotations

import asyncio
from random import Random

from headwater.testing.simulation.faults import Kind
from headwater.testing.simulation.loop import SimulationLoop
from headwater.testing.simulation.weather import Weather


class Bus:
    """Carries hints to all processes but the sender."""

    def __init__(self, loop: SimulationLoop, chance: Random) -> None:
        self._loop, self._chance = loop, chance
        self._heard: dict[str, SimulatedHints] = {}
        self._loss = chance.choice((0.0, 0.1, 0.5, 1.0))
        self._delay = chance.choice((0.001, 0.02, 0.5))

    def connect(self, name: str, weather: Weather) -> SimulatedHints:
        """The hints of a process that starts; one that was restarted hears what was meant for the one before."""
        self._heard[name] = hints = SimulatedHints(self, name, weather)
        return hints

    def spread(self, sender: str) -> None:
        """Send a hint on its ways."""
        for name in self._heard:
            if name == sender:
                continue
            copies = 0 if self._chance.random() < self._loss else self._chance.choice((1, 1, 1, 2))
            for _ in range(copies):
                with self._loop.process("world"):
                    self._loop.call_later(self._chance.random() * self._delay, self._arrive, name)

    def _arrive(self, name: str) -> None:
        self._heard[name].hear()


class SimulatedHints:
    """The hints of one process."""

    def __init__(self, bus: Bus, name: str, weather: Weather) -> None:
        self._bus, self._name, self._weather = bus, name, weather
        self._hinted = False
        self._waiter: asyncio.Future[None] | None = None

    def announce(self, shard: int, position: int) -> None:
        self._bus.spread(self._name)

    async def wait(self, timeout: float) -> None:
        if not self._hinted:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait([self._waiter], timeout=timeout)
            finally:
                self._waiter = None
        self._hinted = False

    def hear(self) -> None:
        """A hint has come."""
        if self._weather.has(Kind.DEAF):
            return
        self._hinted = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

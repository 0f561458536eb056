"""Hints between simulated processes: lost, doubled, late, in any order, sometimes wrong, and about nothing."""

from __future__ import annotations

from random import Random

from headwater.log.heard import Heard
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

    def spread(self, sender: str, position: int) -> None:
        """Send a hint on its ways."""
        for name in self._heard:
            if name == sender:
                continue
            copies = 0 if self._chance.random() < self._loss else self._chance.choice((1, 1, 1, 2))
            for _ in range(copies):
                with self._loop.process("world"):
                    self._loop.call_later(
                        self._chance.random() * self._delay, self._arrive, name, self._distort(position)
                    )

    def _distort(self, position: int) -> int | None:
        lie = self._chance.choice((0, 0, 0, 0, 0, -1, 1, 3, 1_000_000, None))
        return None if lie is None else position + lie

    def _arrive(self, name: str, position: int | None) -> None:
        self._heard[name].hear(position)


class SimulatedHints:
    """The hints of one process."""

    def __init__(self, bus: Bus, name: str, weather: Weather) -> None:
        self._bus, self._name, self._weather = bus, name, weather
        self._heard = Heard()

    def announce(self, shard: int, position: int) -> None:
        self._bus.spread(self._name, position)

    async def wait(self, timeout: float) -> int | None:
        return await self._heard.wait(timeout)

    def hear(self, position: int | None) -> None:
        """A hint has come."""
        if not self._weather.has(Kind.DEAF):
            self._heard.hear(position)

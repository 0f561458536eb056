"""A worker: its parts, started in their order and stopped against it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from headwater.app.domain import Part
from headwater.engine.engine import Engine
from headwater.engine.options import EngineOptions
from headwater.projections.projector import Projector


class Worker:
    """All background work of a process: the engine, and what goes on beside it."""

    def __init__(self, engine: Engine, beside: Sequence[Part] = ()) -> None:
        self.engine = engine
        self._parts: tuple[Part, ...] = (engine, *beside)
        self._running = AsyncExitStack()

    @property
    def progress(self) -> dict[str, float]:
        """When each loop last went round, by the event loop's clock."""
        return {name: at for part in self._parts for name, at in part.progress.items()}

    @property
    def failing(self) -> dict[str, str]:
        """What each loop that did not go round the last time has failed of."""
        return {name: why for part in self._parts for name, why in part.failing.items()}

    @property
    def options(self) -> EngineOptions:
        """How the engine works."""
        return self.engine.options

    def lag(self, tail: int) -> dict[str, int]:
        """How far each projection that is folded here is behind the log's end."""
        projectors = [part for part in self._parts if isinstance(part, Projector)]
        return {name: lag for one in projectors for name, lag in one.lag(tail).items()}

    async def start(self) -> None:
        """Start every part; if one cannot be started, none is left running."""
        async with AsyncExitStack() as starting:
            for part in self._parts:
                await part.start()
                starting.push_async_callback(part.stop)
            self._running = starting.pop_all()

    async def stop(self) -> None:
        """Stop every part, whatever the others do."""
        await self._running.aclose()

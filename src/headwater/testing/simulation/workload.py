"""What runs in a simulated world, and what must be true of it. The log's own workload is the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from headwater.events.clock import Clock
from headwater.events.ids import TimeOrderedIds
from headwater.events.registry import Registry
from headwater.log.log import Log, LogOptions
from headwater.log.port import Backend

if TYPE_CHECKING:
    from headwater.testing.simulation.world import World


@dataclass(eq=False)
class Node:
    """One life of a simulated process: all that its program takes from outside."""

    name: str
    life: int
    world: World
    backend: Backend
    clock: Clock
    random: Random
    disk: dict[str, Any]
    """Survives crashes. What is put into it is durable at once."""
    refusals: Callable[[], int]
    """How many batches were refused for everybody, as with a full disk."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    alive: bool = True

    @property
    def label(self) -> str:
        return f"{self.name}.{self.life}"

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """A task of this process. The world ends if it fails."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self.world.ended)
        return task

    def log(self, registry: Registry | None = None, options: LogOptions | None = None) -> Log:
        """The real log, with the world's time and chance."""
        chance = Random(f"ids {self.label} {self.world.setup.seed}")
        return Log(
            self.backend,
            registry,
            options=options,
            clock=self.clock,
            ids=TimeOrderedIds(self.clock, chance.randbytes),
            random=Random(f"group {self.label} {self.world.setup.seed}"),
        )


def not_done(processes: Sequence[str], done: Mapping[str, bool]) -> str | None:
    """The first that has not said so; None when all have."""
    return next((f"{name} is not done" for name in processes if not done.get(name)), None)


class Workload(Protocol):
    """Programs for the processes of a world, and the checks that hold them to their promises.

    A check that fails raises `InvariantBroken`; one that can be made at once is made at once.
    """

    @property
    def processes(self) -> Sequence[str]: ...

    @property
    def seconds(self) -> float:
        """For how long things go wrong."""
        ...

    async def run(self, node: Node) -> None:
        """One life of a process: until it crashes, or until `node.stopping` is set."""
        ...

    def unfinished(self) -> str | None:
        """What is still to be done, now that nothing fails any more; None when all is quiet."""
        ...

    async def check(self, log: Log) -> None:
        """Look at everything from outside, with all processes ended."""
        ...

"""A world: processes that run a workload over shared storage, while the plan's faults strike.

A world's life has four parts. While the workload's `seconds` last, faults strike and crashed processes are restarted.
Then the weather clears, everybody is up, and the workload has to become quiet: what was promised to happen some time
must have happened now. Then the processes are stopped the gentle way and must leave nothing. Last, what is in the
storage is checked from outside.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any, Literal
from uuid import UUID

from headwater.log.log import Log
from headwater.testing.invariants import InvariantBroken, check_idle
from headwater.testing.simulation.backend import SimulatedBackend
from headwater.testing.simulation.clock import SimulatedClock
from headwater.testing.simulation.faults import Fault, Kind
from headwater.testing.simulation.hints import Bus
from headwater.testing.simulation.loop import SimulationLoop
from headwater.testing.simulation.storage import Kept, open_storage
from headwater.testing.simulation.weather import Weather
from headwater.testing.simulation.wire import Attempts, Embedded, Remote
from headwater.testing.simulation.workload import Node, Workload

Mode = Literal["fifo", "shuffled"]
Worked = Literal["log", "runs", "projections", "reactors"]
_PATIENCE = 180.0
_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Setup:
    """What a simulation depends on, all of it."""

    seed: int
    mode: Mode = "fifo"
    storage: Kept = "memory"
    url: str | None = field(default=None, repr=False)
    """The database, for `postgres`. It is emptied."""
    workload: Worked = "log"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a world that held ended."""

    fingerprint: str
    steps: int
    seconds: float
    events: int


class World:
    """Use `live` once, then `close`."""

    def __init__(self, setup: Setup, workload: Workload, faults: Sequence[Fault]) -> None:
        self.setup, self.workload = setup, workload
        self.loop = SimulationLoop(
            setup.seed, shuffled=setup.mode == "shuffled", max_steps=2_000_000, trace=64
        )
        self.random = Random(f"world {setup.seed}")
        self.database_clock = SimulatedClock(self.loop)
        self.storage = open_storage(setup.storage, self.database_clock, _INCARNATION, setup.url)
        self.nodes: dict[str, Node] = {}
        self._mains: dict[str, asyncio.Task[None]] = {}
        self._lives = dict.fromkeys(workload.processes, 0)
        self._disks: dict[str, dict[str, Any]] = {name: {} for name in workload.processes}
        self._weather = {name: Weather(self.loop.time) for name in workload.processes}
        self._clocks = {name: SimulatedClock(self.loop) for name in workload.processes}
        self._bus = Bus(self.loop, Random(f"hints {setup.seed}"))
        self.attempts = Attempts()
        self._faults = faults
        self._moments = itertools.count(1)
        self._crashes: list[tuple[int, str]] = []
        self._trouble: list[BaseException] = []
        self.calm = False
        """Whether nothing goes wrong any more."""
        self.journal: deque[str] = deque(maxlen=2000)
        self.loop.set_exception_handler(self._hear_of)

    def live(self) -> Ended:
        """Run it to its end; raises what is wrong with it."""
        events = self.loop.run_until_complete(self._live())
        return Ended(self.fingerprint(events), self.loop.steps, self.loop.time(), len(events))

    def close(self) -> None:
        self.loop.close()
        self.storage.close()

    def note(self, happening: str) -> None:
        """Keep what happened, for the report of a failure."""
        self.journal.append(f"{self.loop.steps:>6} {self.loop.time():10.6f} {happening}")

    def moment(self) -> int:
        """A number that only rises, to tell what came before what."""
        return next(self._moments)

    def fingerprint(self, chains: Sequence[bytes]) -> str:
        return blake2b(self.loop.fingerprint().encode() + b"".join(chains), digest_size=16).hexdigest()

    async def _live(self) -> list[bytes]:
        for name in self.workload.processes:
            self._start(name)
        for fault in self._faults:
            self.loop.call_at(fault.at, self._strike, fault)
        await self._watch(self.workload.seconds)
        self._clear()
        await self._wait_for_quiet()
        await self._stop()
        return await self._check()

    async def _watch(self, seconds: float) -> None:
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            await asyncio.sleep(_LOOK)
            self._raise_trouble()

    async def _wait_for_quiet(self) -> None:
        end = self.loop.time() + _PATIENCE
        while (unfinished := self._dead() or self.workload.unfinished()) is not None:
            if self.loop.time() > end:
                raise InvariantBroken("live", f"{_PATIENCE:.0f} quiet seconds were not enough: {unfinished}")
            await asyncio.sleep(_LOOK)
            self._raise_trouble()

    def _dead(self) -> str | None:
        """One that is about to be started again."""
        return next((f"{name} is not back" for name, node in self.nodes.items() if not node.alive), None)

    async def _stop(self) -> None:
        for node in self.nodes.values():
            node.stopping.set()
        mains = list(self._mains.values())
        _, late = await asyncio.wait(mains, timeout=_PATIENCE)
        self._raise_trouble()
        if late:
            raise InvariantBroken(
                "I8", "processes do not end", tasks=sorted(task.get_name() for task in late)
            )
        await asyncio.sleep(_PATIENCE)
        await check_idle()
        if left := self.storage.left():
            raise InvariantBroken("I8", "something is left open", left=left)

    async def _check(self) -> list[bytes]:
        inner = self.storage.backend(self.database_clock)
        async with Log(inner) as log:
            await self.workload.check(log)
            return [event.chain async for event in log.read()]

    # Processes

    def _start(self, name: str) -> None:
        if self.nodes.get(name) is not None and self.nodes[name].alive:
            return
        self._lives[name] = life = self._lives[name] + 1
        weather, clock = self._weather[name], self._clocks[name]
        with self.loop.process(name):
            chance = Random(f"{name}.{life} {self.setup.seed}")
            wire = Remote(self.loop, chance) if self.storage.remote else Embedded()
            inner = self.storage.backend(clock)
            hints = self._bus.connect(name, weather)

            def note(what: str) -> None:
                self.note(f"{name}.{life} {what}")

            backend = SimulatedBackend(inner, wire, weather, hints, self.attempts, note)
            node = Node(
                name, life, self, backend, clock, Random(f"program {name}.{life} {self.setup.seed}"),
                self._disks[name], lambda: weather.refusals,
            )  # fmt: skip
            self.nodes[name] = node
            self.note(f"{node.label} starts")
            main = self._mains[name] = self.loop.create_task(
                self.workload.run(node), name=f"main {node.label}"
            )
        main.add_done_callback(self.ended)

    def crash(self, name: str) -> None:
        """Kill a process here and now, and have it restarted after a while."""
        node = self.nodes[name]
        if not node.alive:
            return
        node.alive = False
        self.note(f"{node.label} crashes")
        self.loop.kill(name)
        if isinstance(node.backend, SimulatedBackend):
            self.storage.crashed(node.backend.inner)
        with self.loop.process("world"):
            self.loop.call_later(self.random.choice((0.001, 0.05, 0.5, 3.0)), self._start, name)

    def ended(self, main: asyncio.Task[None]) -> None:
        error = None if main.cancelled() else main.exception()
        if error is not None:
            self._trouble.append(error)

    def _hear_of(self, _: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        error = details.get("exception")
        self._trouble.append(
            error if isinstance(error, BaseException) else InvariantBroken("I8", str(details.get("message")))
        )

    def _raise_trouble(self) -> None:
        if self._trouble:
            raise self._trouble[0]

    # Faults

    def _strike(self, fault: Fault) -> None:
        if self.calm:
            return
        self.note(str(fault))
        match fault.kind:
            case Kind.CRASH:
                self._crashes.append((self.loop.steps + int(fault.amount), fault.process))
                self.loop.before_step = self._crash_when_due
            case Kind.PAUSE:
                if self.nodes[fault.process].alive:
                    self.loop.pause(fault.process, self.loop.time() + fault.amount)
            case Kind.CLOCK:
                self._clocks[fault.process].jump(fault.amount)
            case Kind.DATABASE_CLOCK:
                self.database_clock.jump(fault.amount)
            case _:
                self._weather[fault.process].strike(fault)

    def _crash_when_due(self) -> None:
        due = [name for step, name in self._crashes if step <= self.loop.steps]
        if due:
            self._crashes = [crash for crash in self._crashes if crash[0] > self.loop.steps]
            for name in due:
                self.crash(name)
        if not self._crashes:
            self.loop.before_step = None

    def _clear(self) -> None:
        self.calm = True
        self.database_clock.catch_up()
        self._crashes.clear()
        self.loop.before_step = None
        for weather in self._weather.values():
            weather.clear()


_INCARNATION = UUID("4ead3a7e-0000-4000-8000-000000000001")

"""One run in a world of its own: a client, a worker, a log, virtual time, and a crash where it is wanted.

The worker is a process of the simulator's loop, and so is the one that comes after it. Between the worker and the log
stands a tripwire, which counts the appends of the run: the *boundaries*. At the wanted one the process is killed,
before the append goes to the log or before its answer comes; nothing of it runs again, not even a `finally`. The
client is outside, and lives on.

Nothing is waited for: when the run only waits for a timer, the log's clock is set to it. While a step or the test's own
`drive` is at work, time passes as they let it pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast
from uuid import UUID

from headwater.app import Headwater
from headwater.app.workflows import Bound
from headwater.client import Client, RunHandle
from headwater.engine.engine import Engine
from headwater.engine.options import EngineOptions
from headwater.errors import HookNotFound, HookTooEarly
from headwater.events.envelope import Recorded
from headwater.log.log import Log
from headwater.log.port import Backend, Call, Outcome
from headwater.runs.events import RunCancelled, RunCompleted, RunFailed, registry_of
from headwater.runs.rows import DEFAULT_TENANT, STREAM_TYPE, run_stream
from headwater.testing.simulation import SimulationLoop
from headwater.testing.simulation.clock import SimulatedClock
from headwater.testing.simulation.storage import Storage, open_storage

T = TypeVar("T")
Drive = Callable[[Client, RunHandle[Any]], Awaitable[None]]
End = RunCompleted | RunFailed | RunCancelled
RUN: Final = "lone-run"
_OPTIONS: Final = EngineOptions(lease=1e9, idle=1e9)
_GLANCE: Final = 0.5
_STILL: Final = 4
_STUCK: Final = 240
_LONGEST: Final = 20_000.0


class Crash(NamedTuple):
    """Where the worker dies: at which append of the run, with the append in the log or not."""

    boundary: int
    written: bool


@dataclass(frozen=True)
class Life:
    """How the run went."""

    end: End | None
    """None if it did not come to its end; `trouble` says why."""
    trouble: str
    history: list[Recorded]
    boundaries: list[str]
    """What each append of the run held."""
    crashed: bool


def live(
    app: Headwater,
    bound: Bound[Any],
    *,
    drive: Drive | None = None,
    crash: Crash | None = None,
    kept: Literal["memory", "sqlite"] = "memory",
) -> Life:
    """The whole life of one run."""
    return apart(lambda: _live(app, bound, drive, crash, kept))


def apart(work: Callable[[], T]) -> T:
    """Do what needs a loop of its own; in a thread, if one is running here."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _live(
    app: Headwater,
    bound: Bound[Any],
    drive: Drive | None,
    crash: Crash | None,
    kept: Literal["memory", "sqlite"],
) -> Life:
    loop = SimulationLoop(0)
    clock = SimulatedClock(loop)
    storage = open_storage(kept, clock, UUID(int=1))
    world = _World(loop, clock, storage, app, crash)
    try:
        return loop.run_until_complete(world.live(bound, drive))
    finally:
        world.end()
        loop.close()
        storage.close()


class _PatientClient(Client):
    """Sends when the hook is there. Knows whether it waits for the run."""

    waiting = 0

    async def send(
        self,
        token: str,
        payload: Any,
        *,
        run: str | None = None,
        key: str | None = None,
        actor: str | None = None,
    ) -> None:
        self.waiting += 1
        try:
            while True:
                try:
                    return await super().send(token, payload, run=run, key=key, actor=actor)
                except (HookNotFound, HookTooEarly):
                    await asyncio.sleep(_GLANCE)
        finally:
            self.waiting -= 1

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> End:
        self.waiting += 1
        try:
            return await super().wait_for(run, label, timeout)
        finally:
            self.waiting -= 1


class _Tripwire:
    """A backend that counts the appends of the run, and dies at one of them."""

    def __init__(self, inner: Backend, world: _World) -> None:
        self._inner, self._world = inner, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        writes = [write for call in calls for write in call.writes if write.stream.type == STREAM_TYPE]
        dies = self._world.reach(", ".join(row.type for write in writes for row in write.rows))
        if dies and not dies.written:
            await self._world.die()
        outcomes = await self._inner.append(shard, calls)
        if dies:
            await self._world.die()
        return outcomes


class _World:
    def __init__(
        self,
        loop: SimulationLoop,
        clock: SimulatedClock,
        storage: Storage,
        app: Headwater,
        crash: Crash | None,
    ) -> None:
        self._loop, self._clock, self._storage, self._app, self._crash = loop, clock, storage, app, crash
        self._boundaries: list[str] = []
        self._engines: list[Engine] = []
        self._backends: list[Backend] = []
        self._dead = self._crashed = False
        self._defect = ""
        loop.set_exception_handler(self._note_defect)

    # The worker, and its death

    def start_worker(self) -> None:
        with self._loop.process("worker"):
            self._loop.create_task(self._work()).add_done_callback(_raise)

    async def _work(self) -> None:
        backend = self._storage.backend(self._clock)
        self._backends.append(backend)
        log = self._log(cast(Backend, _Tripwire(backend, self)))
        await log.reopen()
        engine = Engine(self._app, log, _OPTIONS, clock=self._clock, random=Random(0), place=lambda: "")
        await engine.start()
        self._engines.append(engine)

    def _log(self, backend: Backend) -> Log:
        registry = registry_of(self._app)
        return Log(backend, registry, clock=self._clock, random=Random(0))

    def _note_defect(self, loop: object, details: dict[str, Any]) -> None:
        if "handle" in details:  # else somebody's task was never asked how it ended
            self._defect = f"the engine has a defect: {details.get('exception')!r}"

    def reach(self, types: str) -> Crash | None:
        """The run's next append; whether it is the one to die at."""
        if not types:
            return None
        self._boundaries.append(types)
        here = self._crash is not None and len(self._boundaries) == self._crash.boundary + 1
        return self._crash if here else None

    async def die(self) -> None:
        self._dead = self._crashed = True
        await self._loop.crash()

    def end(self) -> None:
        """Let go of what the workers held. What they left open, the loop's end closes."""
        for engine in self._engines:
            for active in engine.runs.values():
                active.execution.evict()

    # The run

    async def live(self, bound: Bound[Any], drive: Drive | None) -> Life:
        self.start_worker()
        async with self._log(self._storage.backend(self._clock)) as log:
            hw = _PatientClient(self._app, worker=False, log=log)
            async with hw:
                run = await hw.start(bound, id=RUN)
                driving = asyncio.ensure_future(drive(hw, run)) if drive is not None else None
                ending = asyncio.create_task(Client.wait_for(hw, RUN, None, None))
                watching = asyncio.create_task(self._watch(hw, log, driving))
                try:
                    await asyncio.wait([ending, watching], return_when=asyncio.FIRST_COMPLETED)
                    if driving is not None and driving.done():
                        driving.result()
                    end = ending.result() if ending.done() else None
                    history = [recorded async for recorded in hw.history(RUN)]
                    trouble = watching.result() if watching.done() else ""
                finally:
                    await _cancel([ending, watching, *([driving] if driving is not None else [])])
                return Life(end, trouble, history, self._boundaries, self._crashed)

    async def _watch(self, hw: _PatientClient, log: Log, driving: asyncio.Future[None] | None) -> str:
        """Bury the worker, set the clock forward, and say what is wrong when nothing goes on."""
        stream, version, still = run_stream(RUN, DEFAULT_TENANT), 0, 0
        while self._loop.time() < _LONGEST:
            await asyncio.sleep(_GLANCE)
            if self._defect:
                return self._defect
            if self._dead:
                self._dead = False
                self._storage.crashed(self._backends[-1])
                await log.backend.sweep(dead=[worker.id for worker in await log.backend.workers()])
                self.start_worker()
            if driving is not None and driving.done():
                driving.result()
            before, version = version, await log.backend.version(stream)
            busy = any(not active.quiet for engine in self._engines[-1:] for active in engine.runs.values())
            drives = driving is not None and not driving.done() and not hw.waiting
            still = 0 if before != version or busy or drives else still + 1
            if still < _STILL:
                continue
            state = await hw.get(RUN)
            if state.held is not None:
                return f"it was held ({state.held.reason}): {state.held.message}"
            due = await log.backend.due(None, 1, by_now=False)
            if due and due[0].at > self._clock.now_us():
                self._clock.jump((due[0].at - self._clock.now_us()) / 1_000_000)
                still = 0
            elif still > _STUCK:
                hooks = ", ".join(repr(token) for token in state.open_tokens.values()) or "none"
                return f"it waits for what does not come. Open hooks: {hooks}; let `drive` send to them"
        return f"it was not done after {_LONGEST:.0f} s"


def _raise(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

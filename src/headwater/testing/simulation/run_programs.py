"""The programs of the runs workload: workers that come and go, and clients that ask for everything, at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final, TypeVar

from headwater.app import Headwater
from headwater.client import Client
from headwater.engine.engine import Ended, Engine
from headwater.engine.options import EngineOptions
from headwater.errors import (
    Conflict,
    HookNotFound,
    HookTooEarly,
    RunFinished,
    RunHeldError,
    RunIdReused,
    RunNotFound,
    Trouble,
)
from headwater.log.log import Log
from headwater.runs.state import RunState
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.clock import SimulatedClock
from headwater.testing.simulation.run_flows import SHARED_TOKENS, Flows, shared_token, token_of
from headwater.testing.simulation.run_promises import Promises, Sending
from headwater.testing.simulation.workload import Node
from headwater.worker import Worker

T = TypeVar("T")
_PATIENCE: Final = 3
_GIVEN_UP: Final = 0.1
_LET_GO_ON: Final = 0.7
_HOOKED: Final = {"patient", "inbox", "asking", "edited"}
_NOT_TAKEN: Final = (HookNotFound, HookTooEarly, RunFinished, RunNotFound)


def engine_of(
    node: Node, app: Headwater, log: Log, options: EngineOptions, ended: Ended | None = None
) -> Engine:
    """The real engine, with the world's time, chance and names."""
    names = node.disk.setdefault("names", count(1))
    return Engine(
        app,
        log,
        options,
        clock=SimulatedClock(node.world.loop),
        random=node.random,
        place=lambda: "",
        name=lambda: f"{node.label}-{next(names)}",
        ended=ended,
    )


async def start_engine(engine: Engine | Worker) -> None:
    """As a supervisor would: again, until it stays up."""
    while True:
        try:
            await engine.start()
        except Trouble:
            await asyncio.sleep(0.2)
        else:
            return


async def work(
    node: Node, log: Log, app: Headwater, options: EngineOptions, restarts: float, evict_every: float
) -> None:
    """A worker, that is deployed anew now and then."""
    while not node.stopping.is_set():
        engine = engine_of(node, app, log, options)
        await start_engine(engine)
        evicting = node.start(_evict(engine, evict_every), f"evicting {node.label}")
        with suppress(TimeoutError):
            pause = node.random.uniform(0, restarts) if restarts and not node.world.calm else None
            await asyncio.wait_for(node.stopping.wait(), pause)
        evicting.cancel()
        await engine.stop()


async def _evict(engine: Engine, every: float) -> None:
    """Let go of whatever only waits, again and again."""
    while every:
        await asyncio.sleep(every)
        for active in list(engine.runs.values()):
            if active.quiet:
                engine.let_go(active)


class ClientProgram:
    """One life of a client: it does what it has planned, then sees every run of its own to its end."""

    def __init__(
        self,
        node: Node,
        log: Log,
        flows: Flows,
        promises: Promises,
        *,
        operations: int,
        pace: float,
        runs: int,
        kinds: Sequence[str],
        tenant: str,
        embedded: EngineOptions | None,
    ) -> None:
        self.node, self.flows, self.promises, self.tenant = node, flows, promises, tenant
        self._chance, self._operations, self._pace, self._runs = node.random, operations, pace, runs
        self._kinds = kinds
        self._mine: dict[str, tuple[str, int]] = node.disk.setdefault("mine", {})
        self._over: set[str] = node.disk.setdefault("over", set())
        self._numbers = node.disk.setdefault("numbers", count(1_000_000 * int(node.name[1:])))
        self._tasks: list[asyncio.Task[None]] = []

        async def start(
            app: Headwater, log: Log, options: EngineOptions | None = None, /, *, ended: Ended
        ) -> Worker:
            worker = Worker(engine_of(node, app, log, options or EngineOptions(), ended))
            await start_engine(worker)
            return worker

        self._client = Client(
            flows.app, log=log, worker=embedded is not None, options=embedded, tenant=tenant, start=start
        )

    async def run(self) -> None:
        async with self._client:
            main = self.node.start(self._main(), f"client {self.node.label}")
            await self.node.stopping.wait()
            tasks = [main, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._client.runs.folder.settled()

    def busy(self) -> str | None:
        if self.node.disk.get("operations", 0) < self._operations:
            return f"{self.node.label} has not done all"
        if left := sorted(self._mine.keys() - self._over):
            return f"runs go on: {', '.join(f'{id} ({self._mine[id][0]})' for id in left)}"
        return next((f"{task.get_name()} goes on" for task in self._tasks if not task.done()), None)

    async def _main(self) -> None:
        done = self.node.disk
        while done.setdefault("operations", 0) < self._operations:
            done["operations"] += 1
            await asyncio.sleep(self._chance.choice((0.0, 0.1, 0.5, 3.0)) * self._pace)
            await self._operate()
        for id in sorted(self._mine.keys() - self._over):
            self._go(self._see_to_its_end(id))

    def _go(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(self.node.start(work, f"work {self.node.label}"))

    async def _operate(self) -> None:
        often = self._start_one, self._start_one, self._send_one
        seldom = (
            self._start_twins, self._start_rivals, self._start_many, self._send_ten, self._cancel, self._resume,
            self._await_one, self._look,
        )  # fmt: skip
        await self._chance.choice((*often, *often, *seldom))()

    # Starting

    def _draw(self) -> str:
        """An id that others may draw too, with what is to be started under it."""
        id = f"r{self._chance.randrange(self._runs)}"
        kinds = self._kinds
        same = self._chance.random() < 0.9
        drawn = int(id[1:]) * 31 + self.node.world.setup.seed
        kind = kinds[drawn % len(kinds)] if same else self._chance.choice(kinds)
        self._mine.setdefault(id, (kind, drawn if same else self._chance.randrange(100)))
        return id

    async def _start_one(self) -> None:
        id = self._draw()
        await self._start(id, *self._mine[id])

    async def _start_twins(self) -> None:
        """The same start several times at once."""
        id = self._draw()
        for _ in range(3):
            self._go(self._start(id, *self._mine[id]))

    async def _start_rivals(self) -> None:
        """Two starts of one id at once that want different things."""
        id = self._draw()
        kind, n = self._mine[id]
        self._go(self._start(id, kind, n + 1))
        self._go(self._start(id, kind, n))

    async def _start_many(self) -> None:
        ids = [self._draw() for _ in range(4)]
        news = {id: self.flows.kinds[self._mine[id][0]].bind(self._mine[id][1]) for id in ids}
        with suppress(Trouble, RunIdReused):
            for handle in await self._client.start_all(news):
                self._have_started(handle.id, *self._mine[handle.id])

    async def _start(self, id: str, kind: str, n: int) -> None:
        """Start a run, again until the outcome is known."""

        async def start() -> None:
            try:
                await self._client.start(self.flows.kinds[kind].bind(n), id=id)
            except RunIdReused:
                self.promises.refused.append(((self.tenant, id), kind, n))
            else:
                self._have_started(id, kind, n)

        await self._insist(start)

    def _have_started(self, id: str, kind: str, n: int) -> None:
        before = self.promises.started.setdefault((self.tenant, id), (kind, n))
        if before != (kind, n):
            raise InvariantBroken("runs", "two different starts of one id succeeded", run=id, first=before)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except Trouble:
                await asyncio.sleep(0.1)

    # Talking

    def _token(self) -> tuple[str, str | None]:
        if self._chance.random() < 0.2:
            return shared_token(self._chance.randrange(SHARED_TOKENS)), None
        hooked = [id for id, (kind, _) in sorted(self._mine.items()) if kind in _HOOKED]
        id = self._chance.choice(hooked or [f"r{self._chance.randrange(self._runs)}"])
        return token_of(id), self._chance.choice((id, None))

    async def _send_one(self) -> None:
        token, run = self._token()
        key = self._chance.choice((None, f"k{self._chance.randrange(3)}"))
        number = next(self._numbers)
        await self._send(Sending(self.tenant, token, number, key), run)

    async def _send_ten(self) -> None:
        """The same payload ten times at once."""
        token, run = self._token()
        sending = Sending(self.tenant, token, next(self._numbers), f"ten {self._chance.randrange(100)}")
        for _ in range(10):
            self._go(self._send(sending, run))

    async def _send(self, sending: Sending, run: str | None) -> bool:
        """Whether it was taken; one with a key is sent until that is known."""

        async def send() -> bool:
            try:
                await self._client.send(sending.token, sending.number, run=run, key=sending.key)
            except _NOT_TAKEN:
                self.promises.unsent.append(sending)
                return False
            except Conflict:
                return False  # another payload with this key was there first
            self.promises.sent.append(sending)
            return True

        if sending.key is not None:
            return await self._insist(send)
        with suppress(Trouble):
            return await send()
        return False

    async def _cancel(self) -> None:
        id = f"r{self._chance.randrange(self._runs)}"
        if self._chance.random() < 0.5:
            self._go(self._start_one())
        await self._ask_to_end(id)

    async def _ask_to_end(self, id: str) -> None:
        async def cancel() -> None:
            with suppress(RunNotFound, RunFinished):
                await self._client.cancel(id, "enough")
                self.promises.cancelled.add((self.tenant, id))

        await self._insist(cancel)

    async def _resume(self) -> None:
        with suppress(Conflict, Trouble):
            await self._client.resume(f"r{self._chance.randrange(self._runs)}")

    # Looking

    async def _look(self) -> None:
        with suppress(RunNotFound, Trouble):
            await self._client.list(limit=5)
            await self._client.get(f"r{self._chance.randrange(self._runs)}")

    async def _await_one(self) -> None:
        if self._mine:
            self._go(self._await(self._chance.choice(sorted(self._mine)), 5.0))

    async def _await(self, id: str, seconds: float) -> bool:
        try:
            ended = await self._client.wait_for(id, None, seconds)
        except (TimeoutError, RunNotFound, RunHeldError, Trouble):
            return False
        self.promises.results.append(((self.tenant, id), ended))
        return True

    async def _see_to_its_end(self, id: str) -> None:
        """Start the run if it is not there, give it what it waits for, and wait for its end."""
        await self._start(id, *self._mine[id])
        while not await self._await(id, 2.0):
            await self._help(await self._insist(lambda: self._client.get(id)))
        self._over.add(id)

    async def _help(self, state: RunState) -> None:
        """What a person does: let a held run go on, or give it up, or leave it for now and answer where it asks.

        Answers are given once only.
        """
        if state.held is not None:
            met = self.node.disk.setdefault("met held", {})
            met[state.run] = met.get(state.run, 0) + 1
            if state.held.reason == "stuck":
                raise InvariantBroken("runs", "a run is stuck", run=state.run, message=state.held.message)
            given_up = met[state.run] > _PATIENCE and state.held.reason == "diverged"
            if given_up or self._chance.random() < _GIVEN_UP:
                await self._ask_to_end(state.run)
            elif self._chance.random() < _LET_GO_ON:
                with suppress(Conflict, Trouble):
                    await self._client.resume(state.run)
        for hook in state.hooks.values():
            for i in range(3 if hook.status == "open" else 0):
                key = f"last {state.run} {hook.call} {i}"
                if key not in self._answered:
                    number = self._answered.setdefault(key, next(self._numbers))
                    await self._send(Sending(self.tenant, hook.token, number, key), state.run)

    @property
    def _answered(self) -> dict[str, int]:
        answered: dict[str, int] = self.node.disk.setdefault("answered", {})
        return answered

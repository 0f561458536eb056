"""The reactors workload: processes that react, are restarted, die and come back, writers, pauses, and a person who
mends what has failed and asks for it to be done again. What is done outside is in `effects`.

Two tenants have aggregates of the same names, and some events are none of the reactor's: of another type, or of another
aggregate type. Who asks for something that is mended relies on it: it is not to be given up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final, Literal

from headwater.errors import HeadwaterError
from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.log import Log, LogOptions
from headwater.log.write import Write
from headwater.pipelines.reactors import Reacting, Reaction, Reactor, checkpoint_of
from headwater.projections.stores import GO_ON, NOT_ASKED, StateRow, Store
from headwater.testing.invariants import InvariantBroken, check
from headwater.testing.simulation.effects import Effects, Ordered
from headwater.testing.simulation.states import simulated_store
from headwater.testing.simulation.workload import Node, not_done

NAME: Final = checkpoint_of("shop", "mail")
_ORDER: Final = "order"
_TENANTS: Final = ("default", "other")
_CALM: Final = 10.0
"""So long after the last trouble nothing of it is under way any more."""
_LAST: Final = 6
_SHORT: Final = 1.0
"""A lease that may be over before an answer comes, in any weather: two reactors may then do the same."""

Waiting = tuple[str, str, int]


class Noted(Event):
    """What is not reacted to."""

    type: Literal["noted"] = "noted"


class ReactorWorkload:
    """One to three processes with the same reactor and a client each."""

    def __init__(self, seed: int) -> None:
        chance = Random(f"reactor workload {seed}")
        self.processes = [f"p{n}" for n in range(1, 1 + chance.choice((1, 2, 3)))]
        self.seconds = chance.choice((1.0, 4.0, 10.0))
        self._aggregates = chance.choice((1, 2, 5))
        self._operations = chance.choice((5, 15, 30))
        self._lease = chance.choice((0.6, 2.0))
        self._attempts = chance.choice((1, 1, 2, 3))
        self._backoff = chance.choice((0.05, 0.3))
        self._patience = chance.choice((0.6, 3.0))
        self._concurrency = chance.choice((1, 2, 16))
        self._options = LogOptions(poll=chance.choice((0.05, 0.25)), close_patience=60.0)
        self._effects = Effects(
            self._attempts,
            mended=chance.uniform(0, self.seconds),
            slow=chance.choice((0.02, 0.5)),
        )
        self._busy = set(self.processes)
        self._numbers: dict[Stream, int] = {}
        self._late: set[int] = set()
        self._asked: set[Waiting] = set()
        self._stopped: set[str] = set()
        self._quiet: dict[str, bool] = {}

    async def run(self, node: Node) -> None:
        self._effects.now = node.world.loop.time
        self._quiet[node.name] = False
        async with node.log(Registry(Ordered, Noted), self._options) as log:
            running = Running(node, log, self._reacting)
            await running.start()
            try:
                tasks = [node.start(self._client(node, log, running), f"{node.label} client")]
                if node.name == self.processes[0]:
                    tasks.append(node.start(self._person(node, log), f"{node.label} person"))
                await node.stopping.wait()
                for task in tasks:
                    task.cancel()
            finally:
                await running.stop()

    def _reacting(self, node: Node, log: Log, going: asyncio.Event) -> Reacting:
        """A reactor that must do nothing any more when it is not going."""
        by = f"{node.label} {node.world.moment()}"

        async def mail(event: Ordered, reaction: Reaction) -> None:
            try:
                await self._effects.do(event, reaction, by, node.random)
            finally:
                if not going.is_set() and node.alive:
                    self._stopped.add(by)

        reactor = Reactor(
            name="mail",
            events=(Ordered,),
            react=mail,
            attempts=self._attempts,
            backoff=self._backoff,
            max_backoff=1.0,
            concurrency=self._concurrency,
        )
        store = simulated_store(log, self._effects.now)
        return Reacting(log, "shop", _ORDER, reactor, lease=self._lease, store=store)

    async def _client(self, node: Node, log: Log, running: Running) -> None:
        """Do one thing after the other, write some more when all is calm, then see that nothing is left."""
        store = simulated_store(log, self._effects.now)
        left = node.disk.setdefault("left", self._operations)
        while left:
            left = node.disk["left"] = left - 1
            await asyncio.sleep(node.random.uniform(0, 2 * self.seconds / self._operations))
            with suppress(HeadwaterError):
                await self._one(node, log, store, running)
        self._busy.discard(node.name)
        while self._busy or not node.world.calm:  # noqa: ASYNC110 - others may restart their reactor
            await asyncio.sleep(0.2)
        await asyncio.sleep(_CALM)
        for _ in range(_LAST):
            there = await self._append(node, log)
            if self._lease > _SHORT:
                self._late.update(there)
        while not await self._settled(node, store, log):  # noqa: ASYNC110 - other processes react
            await asyncio.sleep(0.2)
        self._quiet[node.name] = True

    async def _one(self, node: Node, log: Log, store: Store, running: Running) -> None:
        match node.random.choice(("append",) * 7 + ("note", "elsewhere", "pause", "redrive", "restart")):
            case "note":
                await log.append(Write(self._stream(node), [Noted()]))
            case "elsewhere":
                await log.append(Write(Stream("shelf", "s1"), [Ordered(number=1)]))
            case "pause":
                await store.pause(NAME, paused=True)
                await asyncio.sleep(0.2)
                await store.pause(NAME, paused=False)
            case "redrive":
                await self._ask(node, store)
            case "restart":
                await running.stop()
                await running.start()
            case _:
                await self._append(node, log)

    async def _append(self, node: Node, log: Log) -> tuple[int, ...]:
        stream, events = self._stream(node), list[Event]()
        for _ in range(node.random.choice((1, 1, 3))):
            number = self._numbers[stream] = self._numbers.get(stream, 0) + 1
            events.append(Ordered(number=number))
        [appended] = await log.append(Write(stream, events))
        return appended.positions

    def _stream(self, node: Node) -> Stream:
        return Stream(_ORDER, f"o{node.random.randrange(self._aggregates)}", node.random.choice(_TENANTS))

    async def _settled(self, node: Node, store: Store, log: Log) -> bool:
        """Whether every event was reacted to, and none waits to be."""
        with suppress(HeadwaterError):
            head = (await log.backend.tail(0)).position
            [at] = await store.checkpoints(NAME)
            if at.paused:  # by one that died meanwhile
                await store.pause(NAME, paused=False)
            waiting = await self._waiting(store)
            if any(row.parked and row.again == NOT_ASKED for row in waiting):
                await self._ask(node, store)
            return at.position >= head and not waiting
        return False

    async def _person(self, node: Node, log: Log) -> None:
        """Mends what has failed and has it done again, now and then until all is mended."""
        store = simulated_store(log, self._effects.now)
        while (left := self._effects.mended_at - self._effects.now()) > 0:
            await asyncio.sleep(min(left, node.random.uniform(0, self._patience)))
            with suppress(HeadwaterError):
                await self._ask(node, store)

    async def _ask(self, node: Node, store: Store) -> None:
        """Have what failed be done again: one that is mended, or all."""
        parked = [row for row in await self._waiting(store) if row.parked]
        if parked and node.random.random() < 0.5:
            row = node.random.choice(parked)
            self._effects.mend(row.parked)
            await store.request(NAME, GO_ON, tenant=row.tenant, key=row.key)
            self._asked.add(_which(row))
        else:
            mended = {_which(row) for row in parked if self._effects.mended(row.parked)}
            await store.request(NAME, GO_ON)
            self._asked |= mended

    async def _waiting(self, store: Store) -> Sequence[StateRow]:
        """Those that wait or are given up. What was asked for before, when it was mended, is not given up again."""
        asked = frozenset(self._asked)
        rows = await store.parked(NAME, 1)
        for row in rows:
            if row.again == NOT_ASKED and _which(row) in asked:
                raise InvariantBroken("effects", "what was asked for is given up again", row=row)
        return rows

    def unfinished(self) -> str | None:
        return not_done(self.processes, self._quiet)

    async def check(self, log: Log) -> None:
        await check(log)
        if self._stopped:
            raise InvariantBroken("I8", "an effect was done after its reactor was stopped", by=self._stopped)
        log.registry.add(Ordered)
        events = [one async for one in log.read(types=("ordered",), stream_types=(_ORDER,))]
        self._effects.check(events, self._late)


class Running:
    """A process's reactor, which is made anew each time it is started."""

    def __init__(self, node: Node, log: Log, make: Callable[[Node, Log, asyncio.Event], Reacting]) -> None:
        self._node, self._log, self._make = node, log, make
        self._going, self._reacting = asyncio.Event(), make(node, log, asyncio.Event())

    async def start(self) -> None:
        """Until it succeeds, as who runs a worker would."""
        self._going = asyncio.Event()
        self._going.set()
        self._reacting = self._make(self._node, self._log, self._going)
        while True:
            with suppress(HeadwaterError):
                return await self._reacting.start()
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        await self._reacting.stop()
        self._going.clear()


def _which(row: StateRow) -> Waiting:
    return row.tenant, row.key, row.parked

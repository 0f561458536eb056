"""The log's own workload: programs in several processes that append, claim, read and follow, by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any, Final

from headwater.errors import Conflict, HeadwaterError, LogClosed, LogUnavailable, OutcomeUnknown, Trouble
from headwater.events.clock import from_us
from headwater.events.envelope import Stream
from headwater.log.cursor import Cursor
from headwater.log.log import Log, LogOptions
from headwater.log.port import Claimed, Data, Placed, Release
from headwater.log.prepare import Limits
from headwater.log.side import GiveKey, OpenFence, TakeKey
from headwater.log.write import ANY, Appended, Write
from headwater.testing.invariants import check
from headwater.testing.simulation import log_checks
from headwater.testing.simulation.log_calls import FENCES, STREAMS, Caller, Planned
from headwater.testing.simulation.log_history import Claim, Follower, History, Read, Unheard
from headwater.testing.simulation.workload import Node

_SHARED: Final = 4


class LogWorkload:
    """Two to four processes, each with a writer, a follower of everything and one of a part."""

    def __init__(self, seed: int) -> None:
        chance = Random(f"log workload {seed}")
        self.processes = [f"p{number}" for number in range(chance.choice((2, 2, 3, 3, 4)))]
        self.seconds = chance.choice((1.0, 5.0, 20.0))
        self.operations = chance.choice((8, 16, 32))
        self._pace = self.seconds / self.operations
        self._options = LogOptions(
            page=chance.choice((1, 5, 50, 50)),
            poll=chance.choice((0.25, 1.0, 10.0)),
            linger=chance.choice((0.0, 0.005, 0.1)),
            batch_calls=chance.choice((1, 2, 1000)),
            limits=Limits(inline=512),
            close_patience=60.0,
        )
        self._programs: dict[str, Program] = {}
        self._history: History | None = None

    async def run(self, node: Node) -> None:
        if self._history is None:
            self._history = History(node.world.moment, node.world.attempts)
        async with node.log(options=self._options) as log:
            program = self._programs[node.name] = Program(
                node, log, self._history, self.operations, self._pace
            )
            program.start()
            await node.stopping.wait()
            await program.stop()

    def unfinished(self) -> str | None:
        history = self._history
        if history is None:
            return "nothing has begun"
        for name in self.processes:
            program = self._programs.get(name)
            if program is None or not program.node.alive:
                return f"{name} is down"
            if busy := program.busy():
                return busy
        for node, pending in history.handed_in:
            if node.alive and not pending.future.done():
                return f"a call that {node.label} handed in has no outcome"
        for follower in history.followers:
            if not follower.filters and follower.position < history.highest:
                return f"{follower.name} is at {follower.position}, and {history.highest} was acknowledged"
        return None

    async def check(self, log: Log) -> None:
        if self._history is not None:
            await check(log, self._history.acknowledged)
            await log_checks.check(log, self._history)


class Program:
    """One life of one process."""

    def __init__(self, node: Node, log: Log, history: History, operations: int, pace: float) -> None:
        self.node, self.log, self.history = node, log, history
        self._chance, self._operations, self._pace = node.random, operations, pace
        self._caller = Caller(node.label, node.random)
        self._outbox: dict[str, Planned] = node.disk.setdefault("outbox", {})
        self._mine: list[tuple[list[Write], list[Appended]]] = []
        self._ordered = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._followers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._start(self._work())
        if "followers" not in self.node.disk:
            part = self._chance.choice(
                ({"tenant": "other"}, {"types": ("fact_1",)}, {"stream_types": ("b",), "tenant": "default"})
            )
            mine = [Follower(f"{self.node.name} all", {}), Follower(f"{self.node.name} {part}", dict(part))]
            self.node.disk["followers"] = mine
            self.history.followers += mine
        for follower in self.node.disk["followers"]:
            task = self.node.start(self._follow(follower), f"follower {follower.name}")
            self._followers.append(task)

    def busy(self) -> str | None:
        return next((f"{task.get_name()} goes on" for task in self._tasks if not task.done()), None)

    async def stop(self) -> None:
        for task in self._followers:
            task.cancel()
        await asyncio.wait(self._followers)

    # Writing

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(self.node.start(work, f"work {self.node.label}"))

    async def _work(self) -> None:
        for planned in list(self._outbox.values()):
            await self._append(planned)
        done = self.node.disk
        while done.setdefault("operations", 0) < self._operations:
            done["operations"] += 1
            await asyncio.sleep(self._chance.choice((0.0, 0.1, 0.5, 3.0)) * self._pace)
            await self._operate()

    async def _operate(self) -> None:
        often = self._one, self._own, self._burst, self._too_early, self._derived
        seldom = (
            self._one, self._own, self._concurrent, self._cancelled, self._shared, self._again, self._skip,
            self._enlisted, self._read_all, self._read_stream, self._rivals,
        )  # fmt: skip
        await self._chance.choice((*often, *often, *seldom))()

    async def _one(self) -> None:
        await self._append(self._caller.call())

    async def _concurrent(self) -> None:
        for _ in range(self._chance.randint(2, 8)):
            self._start(self._append(self._caller.call()))

    async def _derived(self) -> None:
        planned = self._caller.call(derived=True, rows=self._chance.random() < 0.3)
        if self._chance.random() < 0.5:
            planned = replace(planned, occurred_at=from_us(self.node.clock.now_us()))
        self._outbox[planned.key] = planned
        await self._append(planned)

    async def _shared(self) -> None:
        await self._append(self._caller.shared(self._chance.randrange(_SHARED)))

    async def _append(self, planned: Planned) -> list[Appended] | None:
        """Append until the outcome is known."""
        if planned.derived:
            self.history.forgive(planned.ids())
        writes = planned.make(None if planned.derived else self._order())
        return await self._settle(planned, writes)

    async def _settle(self, planned: Planned, writes: list[Write]) -> list[Appended] | None:
        while True:
            asked = self.history.moment()
            try:
                appended = await self.log.append(*writes)
            except (OutcomeUnknown, LogUnavailable):
                self.history.sent_again.add(planned.key)
                await asyncio.sleep(0.1)
                continue
            except (Conflict, Trouble) as error:
                if not planned.derived or isinstance(
                    error, Conflict
                ):  # else an earlier life may have written it
                    self.history.refuse(writes, error)
                self._outbox.pop(planned.key, None)
                return None
            self.history.accept(asked, writes, appended)
            self._outbox.pop(planned.key, None)
            self._mine.append((writes, appended))
            for place in appended:
                self._caller.versions[place.stream] = max(
                    self._caller.versions.get(place.stream, 0), place.version
                )
            return appended

    async def _rivals(self) -> None:
        """Calls at once that take and give back the same key."""
        key = f"hot {self._chance.randrange(3)}"
        for _ in range(self._chance.randint(2, 6)):
            row = TakeKey(key, "me") if self._chance.random() < 0.6 else GiveKey(key, "me")
            self._start(self._append(self._caller.on(self._chance.choice(STREAMS), ANY, row)))

    async def _burst(self) -> None:
        """Calls that nobody waits for, and perhaps one that somebody does."""
        for _ in range(self._chance.randint(1, 4)):
            writes = self._caller.call(rows=False).make(self._order())
            pending = await self.log.submit(*writes)
            self.history.handed_in.append((self.node, pending))
            pending.future.add_done_callback(_Answer(self.history, writes))
        if self._chance.random() < 0.5:
            await self._one()

    async def _cancelled(self) -> None:
        """A caller that gives up does not take its call back."""
        planned = self._caller.call(plain=True)
        started = False

        async def append() -> None:
            nonlocal started
            started = True
            await self.log.append(*planned.make(self._order()))

        refusals = self.node.refusals()
        task = asyncio.create_task(append(), name=f"impatient {self.node.label}")
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.0005, 0.001, 0.01)))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        if started:
            self.history.cancelled.append(Unheard(self.node, planned.key, refusals))

    async def _own(self) -> None:
        """Claim a fence and write as its owner for a while, though others may have claimed it since."""
        key, hurry = self._chance.choice(FENCES), self._chance.random() < 0.7
        if hurry:  # at a moment when others do the same
            await asyncio.sleep(self._pace - self.node.world.loop.time() % self._pace)
        for _ in range(self._chance.randint(1, 4) if hurry else 1):
            try:
                claimed = await self.log.backend.claim("default", [key], self.node.label)
                head = (await self.log.head()).position
            except (LogUnavailable, OutcomeUnknown):
                return
            if not claimed:
                await self._append(self._caller.on(Stream("owned", key), ANY, OpenFence(key)))
                return
            self.history.claims.append(Claim("default", key, claimed[0].epoch, head))
            await self._use(claimed[0], hurry=hurry)

    async def _use(self, claimed: Claimed, *, hurry: bool) -> None:
        key, epoch, wakes = claimed
        for _ in range(self._chance.randint(1, 2 if hurry else 4)):
            if await self._append(self._caller.fenced(key, epoch)) is None:
                return
            if not hurry:
                await asyncio.sleep(self._chance.choice((0.0, 0.002, 0.3)) * self._pace)
        with suppress(LogUnavailable):
            await self.log.backend.release([Release("default", key, epoch, wakes)])

    async def _too_early(self) -> None:
        """A call that is refused, and then what would have let it in: it must not get in any more."""
        mine = Stream("lone", self.node.name)
        if self._chance.random() < 0.5:
            version = self._caller.versions.get(mine)
            if version is not None:
                await self._append(self._caller.on(mine, version + 1))
            await self._append(self._caller.on(mine))
        else:
            key = f"lone {self.node.name}"
            for row in (TakeKey(key, "me"), TakeKey(key, "you"), GiveKey(key, "me")):
                await self._append(self._caller.on(mine, ANY, row))

    async def _again(self) -> None:
        """The very same writes once more: they are known, where they were."""
        if not self._mine:
            return
        writes, first = self._chance.choice(self._mine)
        try:
            again = await self.log.append(*writes)
        except Trouble:
            return
        except Conflict as error:
            raise log_checks.told_otherwise(first, error) from None
        places = [(place.positions, place.versions) for place in again]
        if places != [(place.positions, place.versions) for place in first] or not all(
            all(place.known) for place in again
        ):
            raise log_checks.told_otherwise(first, again)

    async def _skip(self) -> None:
        """Known and new in one write."""
        old = replace(
            self._caller.call(derived=True, rows=False, plain=True),
            occurred_at=from_us(self.node.clock.now_us()),
        )
        old = replace(old, writes=old.writes[:1])
        writes = old.make()
        if await self._settle(old, writes) is None:
            return
        new = self._caller.call(plain=True)
        more = replace(new, writes=(new.writes[0]._replace(stream=old.writes[0].stream),)).make()
        both = Write(writes[0].stream, (*writes[0].events, *more[0].events), known="skip")
        asked = self.history.moment()
        try:
            appended = await self.log.append(both)
        except Trouble:
            return
        except Conflict as error:
            raise log_checks.told_otherwise(old, error) from None
        self.history.accept(asked, [both], appended)
        if not all(appended[0].known[: len(writes[0].events)]):
            raise log_checks.told_otherwise(appended, appended)

    async def _enlisted(self) -> None:
        """An append in the program's own transaction."""
        planned = self._caller.call()
        writes = planned.make()
        try:
            async with self.log.transaction() as transaction:
                await transaction.append(*writes)
        except LogUnavailable:
            return  # before it began, or after it ended
        except OutcomeUnknown:
            return
        except (Conflict, Trouble) as error:
            self.history.refuse(writes, error)

    def _order(self) -> tuple[str, int]:
        self._ordered += 1
        return self.node.label, self._ordered

    # Reading

    async def _read_all(self) -> None:
        asked = self.history.moment()
        try:
            chains = [event.chain async for event in self.log.read(data=self._chance.choice(list(Data)))]
        except LogUnavailable:
            return
        self.history.reads.append(Read(asked, chains))

    async def _read_stream(self) -> None:
        stream, backward = self._chance.choice(STREAMS), self._chance.random() < 0.5
        try:
            versions = [event.version async for event in self.log.stream(stream, backward=backward)]
        except LogUnavailable:
            return
        log_checks.check_versions(stream, versions[::-1] if backward else versions)
        self._caller.versions[stream] = max(versions, default=0)

    async def _follow(self, follower: Follower) -> None:
        """Follow from the kept cursor, keeping a new one now and then."""
        follower.restart()
        while True:
            cursor = Cursor.parse(follower.cursor) if follower.cursor else None
            try:
                async for page in self.log.pages(cursor, follow=True, data=Data.ALL, **follower.filters):
                    for event in page.events:
                        follower.hear(event)
                        if self._chance.random() < 0.1:
                            await asyncio.sleep(0)
                    if self._chance.random() < 0.5:
                        follower.keep(str(page.cursor))
                    elif page.events and self._chance.random() < 0.5:
                        follower.keep(str(self.log.cursor(page.events[-1])))
            except LogUnavailable:
                follower.restart()
                await asyncio.sleep(0.1)


class _Answer:
    """Hears the outcome of a call that was handed in."""

    def __init__(self, history: History, writes: list[Write]) -> None:
        self._history, self._writes = history, writes
        self._asked = history.moment()

    def __call__(self, future: asyncio.Future[Placed]) -> None:
        error = future.exception()
        if error is None:
            self._history.accept(self._asked, self._writes, _places(self._writes, future.result()))
        elif isinstance(error, HeadwaterError) and not isinstance(error, OutcomeUnknown | LogClosed):
            self._history.refuse(self._writes, error)


def _places(writes: list[Write], placed: Placed) -> list[Appended]:
    appended: list[Appended] = []
    start = 0
    for write in writes:
        part = slice(start, start + len(write.events))
        start += len(write.events)
        columns = (placed.versions[part], placed.positions[part], placed.known[part])
        appended.append(Appended(write.stream, tuple(columns[0]), tuple(columns[1]), tuple(columns[2])))
    return appended

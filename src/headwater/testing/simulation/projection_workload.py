"""The projections workload: projectors that fold, die and come back, writers, readers that wait for what they wrote,
rebuilds, pauses and redrives. Beside it there are inline states (see `inline_flow`).

The state of a key is the list of the numbers that were added to it, so a lost event, one applied twice and one that
overtook another all show. Events of one kind make the fold raise until it is mended at a moment in the middle; from
then on readers ask for the parked keys to be folded again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, Literal

from headwater.errors import HeadwaterError, Parked
from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.log import Log, LogOptions
from headwater.log.write import Write
from headwater.projections.current import in_use
from headwater.projections.projection import Projection
from headwater.projections.projector import Projector
from headwater.projections.rebuild import ask_rebuild, live_of
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, GO_ON, Key, Store
from headwater.testing.invariants import InvariantBroken, check
from headwater.testing.simulation.inline_flow import COUNTS, Counted, Counting, check_counts, counts
from headwater.testing.simulation.states import simulated
from headwater.testing.simulation.workload import Node, not_done

BAD: Final = 5
NAME: Final = "added"


class Added(Event):
    type: Literal["added"] = "added"
    key: str
    number: int


def key_of(recorded: Recorded) -> str | None:
    event = recorded.event
    return event.key if isinstance(event, Added) else None


async def folded(log: Log, position: int) -> dict[Key, list[int]]:
    """What was added to each key up to a position, in the order of the log."""
    states = dict[Key, list[int]]()
    async for recorded in log.read():
        event = recorded.event
        if isinstance(event, Added) and recorded.position <= position:
            states.setdefault(Key(recorded.tenant, event.key), []).append(event.number)
    return states


class ProjectionWorkload:
    """Two or three processes with a projector and a client each."""

    def __init__(self, seed: int) -> None:
        chance = Random(f"projection workload {seed}")
        self.processes = [f"p{n}" for n in range(1, 1 + chance.choice((1, 2, 3)))]
        self.seconds = chance.choice((1.0, 4.0, 10.0))
        self._keys = chance.choice((1, 3, 8))
        self._operations = chance.choice((5, 15, 30))
        self._lease = chance.choice((0.6, 2.0))
        self._batch = chance.choice((1, 3, 100))
        self._mended = chance.uniform(0, self.seconds)
        self._options = LogOptions(poll=chance.choice((0.05, 0.25)), close_patience=60.0)
        self._numbers: dict[str, int] = {}
        self._quiet: dict[str, bool] = {}
        self._furthest = self._counted = 0
        self._now: Callable[[], float] = lambda: 0.0

    @property
    def projection(self) -> Projection[list[int]]:
        def fold(state: list[int], event: Added) -> list[int]:
            if event.number % BAD == 0 and self._now() < self._mended:
                raise ValueError("not yet mended")
            return [*state, event.number]

        added = Projection(NAME, state=list[int], initial=list[int](), fold=fold, events=(Added,), key=key_of)
        return simulated(added, self._now)

    async def run(self, node: Node) -> None:
        self._now = node.world.loop.time
        self._quiet[node.name] = False
        async with node.log(Registry(Added, Counted), self._options) as log:
            projection, counted = self.projection, counts(self._now)
            projector = Projector(log, [projection, counted], lease=self._lease, batch=self._batch)
            await projector.start()
            try:
                counting = Counting(node, log, counted)
                client = node.start(self._client(node, log, projection, counting), f"{node.label} client")
                await node.stopping.wait()
                client.cancel()
            finally:
                await projector.stop()

    async def _client(
        self, node: Node, log: Log, projection: Projection[list[int]], counting: Counting
    ) -> None:
        """Do one thing after the other, then see that nothing stays parked or unfolded."""
        store, states = projection.store(log), States(log, projection)
        left = node.disk.setdefault("left", self._operations)
        while left:
            left = node.disk["left"] = left - 1
            await asyncio.sleep(node.random.uniform(0, 2 * self.seconds / self._operations))
            with suppress(HeadwaterError, TimeoutError):
                await self._one(node, log, store, states, counting)
        while not await self._settled(log, store):  # noqa: ASYNC110 - other processes fold
            await asyncio.sleep(0.2)
        self._quiet[node.name] = True

    async def _one(
        self, node: Node, log: Log, store: Store, states: States[list[int]], counting: Counting
    ) -> None:
        match node.random.choice(
            ("add", "add", "add", "add", "count", "count", "rebuild", "pause", "redrive", "redrive counts")
        ):
            case "count":
                self._counted += 1
                await counting.count(self._counted)
            case "rebuild":
                await ask_rebuild(store, node.random.choice((NAME, NAME, COUNTS)))
            case "redrive counts":
                await store.request(COUNTS, FROM_START)
            case "pause":
                await store.pause(NAME, paused=True)
                await asyncio.sleep(0.2)
                await store.pause(NAME, paused=False)
            case "redrive":
                await store.request(NAME, GO_ON)
            case _:
                await self._add(node, log, store, states)

    async def _add(self, node: Node, log: Log, store: Store, states: States[list[int]]) -> None:
        """Write to one key or two, and read it when the projection has come there."""
        key = f"k{node.random.randrange(self._keys)}"
        number = self._numbers[key] = self._numbers.get(key, 0) + 1
        stream = Stream("part", node.label)
        [appended] = await log.append(Write(stream, [Added(key=key, number=number)]))
        with suppress(Parked):
            async with asyncio.timeout(3.0):
                await states.caught_up(appended.position, key=key)
                seen = await states.state(key)
                # what was built before the fold was mended may be put into use between the two: it has the key parked
                await states.caught_up(appended.position, key=key)
            fold = (await folded(log, appended.position))[Key(stream.tenant, key)]
            if seen[: len(fold)] != fold:
                raise InvariantBroken(
                    "I4", "a state that came there is not the fold", key=key, state=seen, fold=fold
                )
        await self._look(store)

    async def _look(self, store: Store) -> None:
        """What is in use never goes back."""
        before = self._furthest
        live = await in_use(store, NAME)
        if live is None:
            return
        if live.position < before:
            raise InvariantBroken("I4", "the states in use went back", before=before, now=live.position)
        self._furthest = max(self._furthest, live.position)

    async def _settled(self, log: Log, store: Store) -> bool:
        """Whether everything is folded, nothing is parked and nothing is being built."""
        with suppress(HeadwaterError):
            await store.pause(NAME, paused=False)
            await self._look(store)
            head = (await log.backend.tail(0)).position
            for name in (NAME, COUNTS):
                there = await store.checkpoints(name)
                live = next((at for at in there if at.live), None)
                if live is None or live.position < head or len(there) > 1:
                    return False
                waiting = await store.parked(name, live.generation)
                if waiting and self._now() > self._mended:
                    await store.request(name, GO_ON)
                if waiting:
                    return False
            return True
        return False

    def unfinished(self) -> str | None:
        return not_done(self.processes, self._quiet)

    async def check(self, log: Log) -> None:
        """Each state is the list of what was added to its key, in the order of the log, as far as the checkpoint is:
        a write that was under way when its process died may arrive when nobody folds any more."""
        await check(log)
        projection = self.projection
        for model in (Added, Counted):
            log.registry.add(model)
        store = projection.store(log)
        live = await live_of(store, projection)
        expected = await folded(log, live.position)
        rows = await store.page(NAME, live.generation)
        found = {Key(row.tenant, row.key): projection.decode(row.state or b"[]") for row in rows}
        if found != expected:
            different = [key for key in expected | found if expected.get(key) != found.get(key)]
            key = different[0]
            raise InvariantBroken(
                "I4",
                "a state is not the fold of the log",
                key=key.key,
                state=found.get(key),
                fold=expected.get(key),
            )
        await check_counts(log, counts(self._now))

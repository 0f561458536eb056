"""What a program does with a pipeline on a log: store, read, rebuild, and command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from headwater.errors import Conflict, WrongVersion
from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.side import Fence
from headwater.log.snapshots import Folded
from headwater.log.write import ANY, Appended, Write
from headwater.pipelines.commands import CONFLICTS, PAUSE, Asked, Command, Handled
from headwater.pipelines.dispatch import accept
from headwater.pipelines.event_stream import EventStream
from headwater.projections.rebuild import Compared, Went, live_of, rebuild
from headwater.projections.states import States
from headwater.projections.stores import FROM_START, Key

if TYPE_CHECKING:
    from headwater.pipelines.pipeline import Pipeline

_SOONEST: Final = 0.005
_LATEST: Final = 0.1
E = TypeVar("E", bound=Event)
S = TypeVar("S")


class PipelineService(Generic[E, S]):
    """One pipeline on one log. `tenant` is whose aggregates they are."""

    def __init__(self, pipeline: Pipeline[E, S], log: Log, tenant: str = "default") -> None:
        self.pipeline, self.log, self.tenant = pipeline, log, tenant
        self._commander = pipeline.commander(log)
        self._inline = self._commander.inline
        self.states: States[S] = States(log, pipeline.projection)

    # Storing

    async def store(
        self,
        aggregate: str,
        *events: E | NewEvent,
        expect: int | Fence = ANY,
        key: str | None = None,
        actor: str | None = None,
    ) -> Appended:
        """Append events of an aggregate. With a `key`, storing them again changes nothing."""
        stream = self.stream(aggregate)
        written = [
            event
            if isinstance(event, NewEvent)
            else NewEvent(event=event, id=None if key is None else derived_id(stream, key, n), actor=actor)
            for n, event in enumerate(events)
        ]
        if self._inline:
            return await self._store_inline(stream, written, expect)
        [appended] = await self.log.append(Write(stream, written, expect=expect))
        return appended

    async def _store_inline(
        self, stream: Stream, events: Sequence[NewEvent], expect: int | Fence
    ) -> Appended:
        """The same, with the states; where nothing is expected of the stream, as often as others are quicker."""
        rows = (expect,) if isinstance(expect, Fence) else ()
        known = None if isinstance(expect, Fence) or expect == ANY else expect
        for attempt in range(CONFLICTS):
            version = await self._inline.version(stream) if known is None else known
            try:
                return (await self._inline.append(stream, events, version, rows=rows))[0]
            except WrongVersion:
                if known is not None:
                    raise
                await asyncio.sleep(PAUSE * attempt)
        raise Conflict(
            f"Aggregate {stream} changes too quickly: its state was folded {CONFLICTS} times in vain. Store it again, "
            "or let the projection follow the log: inline=False."
        )

    # Reading

    async def events(self, aggregate: str, *, version: int | None = None) -> EventStream[E]:
        """The events of an aggregate, all or up to a version."""
        stream = self.stream(aggregate)
        return EventStream(stream, [one async for one in self.log.stream(stream, to_version=version)])

    async def fetch(
        self, aggregate: str, *, version: int | None = None, at: datetime | None = None
    ) -> Folded[S]:
        """The state of an aggregate as the log has it: now, at a version, or as recorded by a time."""
        return await self.states.of_stream(self.stream(aggregate), version=version, at=at)

    async def projected(self, aggregate: str, *, position: int | None = None) -> S:
        """The state as the projection has it; with a position, when it has come there."""
        key = f"{self.pipeline.aggregate_type}/{aggregate}"
        if position is not None:
            await self.states.caught_up(position, key=key, tenant=self.tenant)
        return await self.states.state(key, tenant=self.tenant)

    # Rebuilding

    async def rebuild(self, *aggregates: str) -> None:
        """Have the states of these aggregates built anew by the worker that keeps them, and wait until they are.

        Without any, all states of the pipeline's own projection are built here, beside those in use, and put in their
        place.
        """
        projection = self.pipeline.projection
        store = projection.store(self.log)
        if not aggregates:
            await rebuild(self.log, projection, store)
            return
        live = await live_of(store, projection)
        keys = [Key(self.tenant, f"{self.pipeline.aggregate_type}/{aggregate}") for aggregate in aggregates]
        for key in keys:
            await store.request(projection.name, FROM_START, tenant=key.tenant, key=key.key)
        pause = _SOONEST
        while any(row.asked for row in (await store.load(projection.name, live.generation, keys)).values()):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LATEST)

    async def rebuild_all(self, went: Went | None = None) -> dict[str, Compared]:
        """Build the states of every projection of the pipeline anew: how they compare with those that were in use."""
        return {
            one.name: await rebuild(self.log, one, one.store(self.log), went=went)
            for one in self.pipeline.projections
        }

    # Commanding

    async def handle(
        self, aggregate: str, command: Command, *, key: str, actor: str | None = None
    ) -> Handled:
        """Handle a command now. The same key again changes nothing, and says what came of it."""
        return await self._commander.handle(Asked(aggregate, command, key, self.tenant), actor=actor)

    async def handle_all(
        self, commands: Iterable[tuple[str, Command, str]], *, actor: str | None = None
    ) -> list[Handled | Exception]:
        """Handle many (aggregate, command, key): those of one aggregate in order, others side by side.

        What one of them raises stands in its place; it does not keep the others from being handled.
        """
        asked = [Asked(aggregate, command, key, self.tenant) for aggregate, command, key in commands]
        answers: list[Handled | Exception | None] = [None] * len(asked)

        async def handle_in_order(numbers: Sequence[int]) -> None:
            for number in numbers:
                try:
                    answers[number] = await self._commander.handle(asked[number], actor=actor)
                except Exception as error:  # noqa: BLE001  (it is told in its place)
                    answers[number] = error

        ordered = sorted(range(len(asked)), key=lambda number: asked[number].aggregate)
        groups = [list(group) for _, group in groupby(ordered, key=lambda number: asked[number].aggregate)]
        await asyncio.gather(*[handle_in_order(group) for group in groups])
        return [answer for answer in answers if answer is not None]

    async def send(self, aggregate: str, command: Command, *, key: str, actor: str | None = None) -> bool:
        """Accept a command to be handled by a worker, in its turn; whether this call did. Durable when it returns."""
        self._commander.handler_of(command)
        return await accept(self.log, self.pipeline.name, Asked(aggregate, command, key, self.tenant), actor)

    def stream(self, aggregate: str) -> Stream:
        return Stream(self.pipeline.aggregate_type, aggregate, self.tenant)

    def of(self, tenant: str) -> PipelineService[E, S]:
        """The same for another tenant."""
        return PipelineService(self.pipeline, self.log, tenant)

"""What a program does with a pipeline on a log: store, read, rebuild, and command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Generic, TypeVar

from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.side import Fence
from headwater.log.snapshots import Folded
from headwater.log.write import ANY, Appended, Write
from headwater.pipelines.aggregates import Aggregates
from headwater.pipelines.commands import Asked, Command, Handled
from headwater.pipelines.dispatch import accept
from headwater.pipelines.event_stream import EventStream
from headwater.projections.rebuild import rebuild
from headwater.projections.states import States

if TYPE_CHECKING:
    from headwater.pipelines.pipeline import Pipeline

E = TypeVar("E", bound=Event)
S = TypeVar("S")


class PipelineService(Generic[E, S]):
    """One pipeline on one log. `tenant` is whose aggregates they are."""

    def __init__(self, pipeline: Pipeline[E, S], log: Log, tenant: str = "default") -> None:
        self.pipeline, self.log, self.tenant = pipeline, log, tenant
        self._aggregates = Aggregates(log, pipeline.projection)
        self._commander = pipeline.commander(log)
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
        [appended] = await self.log.append(Write(stream, written, expect=expect))
        return appended

    # Reading

    async def events(self, aggregate: str, *, version: int | None = None) -> EventStream[E]:
        """The events of an aggregate, all or up to a version."""
        stream = self.stream(aggregate)
        return EventStream(stream, [one async for one in self.log.stream(stream, to_version=version)])

    async def fetch(
        self, aggregate: str, *, version: int | None = None, at: datetime | None = None
    ) -> Folded[S]:
        """The state of an aggregate as the log has it: now, at a version, or as recorded by a time."""
        return await self._aggregates.state(self.stream(aggregate), version=version, at=at)

    async def projected(self, aggregate: str, *, position: int | None = None) -> S:
        """The state as the projection has it; with a position, when it has come there."""
        key = f"{self.pipeline.aggregate_type}/{aggregate}"
        if position is not None:
            await self.states.caught_up(position, key=key, tenant=self.tenant)
        return await self.states.state(key, tenant=self.tenant)

    # Rebuilding

    async def rebuild(self) -> None:
        """Build all states of the pipeline's own projection anew, beside those in use, and put them in their place."""
        projection = self.pipeline.projection
        await rebuild(self.log, projection, projection.store(self.log))

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

"""A pipeline: one domain's events, the state that they make, and what is done with them, under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from headwater.app.domain import Part
from headwater.errors import DeclarationRefused
from headwater.events.envelope import Recorded
from headwater.events.model import Event, type_name
from headwater.events.names import check_name
from headwater.log.log import Log
from headwater.pipelines.commands import Commander, CommandHandler
from headwater.pipelines.dispatch import Dispatcher
from headwater.pipelines.event_stream import EventStream
from headwater.pipelines.reactors import Reacting, Reactor
from headwater.pipelines.service import PipelineService
from headwater.pipelines.turns import Turns
from headwater.projections.inline import Inline
from headwater.projections.open import store_for
from headwater.projections.projection import Projection, by_stream
from headwater.projections.states import States
from headwater.projections.stores import Store

E = TypeVar("E", bound=Event)
S = TypeVar("S")


class Pipeline(Generic[E, S]):
    """What was declared. `service` is the pipeline on the log that the app has open."""

    def __init__(
        self,
        *,
        name: str,
        aggregate_type: str,
        events: Sequence[type[E]],
        state: type[S] | TypeAdapter[S],
        initial: S,
        fold: Callable[[S, E], S] | None = None,
        from_stream: Callable[[EventStream[E]], S] | None = None,
        version: int = 1,
        store: Callable[[Log], Store] = store_for,
        inline: bool = False,
        projections: Sequence[Projection[Any]] = (),
        commands: Sequence[CommandHandler[S]] = (),
        reactors: Sequence[Reactor] = (),
    ) -> None:
        self.name = check_name("pipeline", name)
        self.aggregate_type = check_name("aggregate type", aggregate_type)
        whose = f"Pipeline {name!r}"
        if not events:
            raise DeclarationRefused(f"{whose} names no events. Name those of its aggregates.")
        if (fold is None) == (from_stream is None):
            raise DeclarationRefused(
                f"{whose} needs a fold of each event, or a handler of the whole stream; one of them."
            )
        self.events: tuple[type[E], ...] = tuple(events)
        self.commands, self.reactors = tuple(commands), tuple(reactors)
        _refuse_twice(whose, "command", [handler.name for handler in commands])
        _refuse_twice(whose, "reactor", [reactor.name for reactor in reactors])
        _refuse_twice(whose, "event type", [type_name(model) for model in events])

        def whole(recorded: Sequence[Recorded]) -> S:
            return initial if from_stream is None else from_stream(EventStream(recorded[0].stream, recorded))

        self.projection: Projection[S] = Projection(
            name,
            state=state,
            initial=initial,
            fold=fold or _no_fold,
            whole=None if from_stream is None else whole,
            events=self.events,
            key=by_stream,
            version=version,
            stream_types=(self.aggregate_type,),
            store=store,
            inline=inline,
        )
        self.projections: tuple[Projection[Any], ...] = (self.projection, *projections)
        self._turns = Turns()
        self._service: PipelineService[E, S] | None = None
        self.log_of: Callable[[], Log] | None = None
        """Where the app's log is found; set when the pipeline is registered with an app."""

    def folded(self, events: Iterable[E]) -> S:
        """The state after these events: for tests, with no log."""
        return reduce(self.projection.fold, events, self.projection.initial)

    @property
    def service(self) -> PipelineService[E, S]:
        """The pipeline on the app's log: the one that this process has open."""
        if self.log_of is None:
            raise DeclarationRefused(
                f"Pipeline {self.name!r} belongs to no app. Declare it with app.pipeline(...), include its "
                "domain, or use pipeline.on(log)."
            )
        log = self.log_of()
        if self._service is None or self._service.log is not log:
            self._service = self.on(log)
        return self._service

    def on(self, log: Log, tenant: str = "default") -> PipelineService[E, S]:
        """The pipeline on a log."""
        return PipelineService(self, log, tenant)

    def commander(self, log: Log) -> Commander[S]:
        states, inline = States(log, self.projection), Inline(log, self.projections)
        return Commander(log, self.name, self.aggregate_type, states, self.commands, self._turns, inline)

    def parts(self, log: Log) -> list[Part]:
        """What a worker does for it, beside its projections."""
        reacting: list[Part] = [
            Reacting(log, self.name, self.aggregate_type, reactor) for reactor in self.reactors
        ]
        dispatching: list[Part] = [Dispatcher(log, self.name, self.commander(log))] if self.commands else []
        return [*reacting, *dispatching]

    def __repr__(self) -> str:
        return f"<pipeline {self.name} of {self.aggregate_type}>"


def _no_fold(_: S, event: object) -> S:
    raise DeclarationRefused(
        f"This pipeline's state is made of whole streams: there is no fold of a {event!r}."
    )


def _refuse_twice(whose: str, what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeclarationRefused(f"{whose} declares {what} {', '.join(twice)} twice.")

"""The fluent form: stages that are types, so that a type checker refuses a pipeline with a part left out.

    scores = (
        register_pipeline((ScoreGiven, ScoreWithdrawn), Scores)
        .with_name("scores")
        .with_aggregate_type("evaluation")
        .with_projection_store(store_for)
        .with_event_handler(score)
        .build()
    )

Each stage offers what comes next and nothing else. Without a type checker, a stage that is asked for a later part says
which one is missing. Both forms make the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from headwater.errors import DeclarationRefused
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.pipelines.commands import CommandHandler
from headwater.pipelines.event_stream import EventStream
from headwater.pipelines.pipeline import Pipeline
from headwater.pipelines.reactors import Reactor
from headwater.projections.projection import Projection
from headwater.projections.stores import Store

E = TypeVar("E", bound=Event)
S = TypeVar("S")
A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
D = TypeVar("D", bound=Event)
F = TypeVar("F", bound=Event)
G = TypeVar("G", bound=Event)


class _Stage(Generic[E, S]):
    """What was said so far."""

    _next = ""

    def __init__(
        self, said: dict[str, Any], registered: Callable[[Pipeline[Any, Any]], object] | None
    ) -> None:
        self._said, self._registered = said, registered

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("with_") or name == "build":
                raise DeclarationRefused(f"A pipeline's {name}() comes too early: first say {self._next}.")
            raise AttributeError(name)


class NeedsName(_Stage[E, S]):
    _next = ".with_name(...)"

    def with_name(self, name: str) -> NeedsAggregateType[E, S]:
        return NeedsAggregateType({**self._said, "name": name}, self._registered)


class NeedsAggregateType(_Stage[E, S]):
    _next = ".with_aggregate_type(...)"

    def with_aggregate_type(self, aggregate_type: str) -> NeedsStore[E, S]:
        return NeedsStore({**self._said, "aggregate_type": aggregate_type}, self._registered)


class NeedsStore(_Stage[E, S]):
    _next = ".with_projection_store(...)"

    def with_projection_store(self, store: Callable[[Log], Store]) -> NeedsHandler[E, S]:
        """Where its states are kept: `store_for` is the log's own database."""
        return NeedsHandler({**self._said, "store": store}, self._registered)


class NeedsHandler(_Stage[E, S]):
    _next = ".with_event_handler(...) or .with_stream_handler(...)"

    def with_event_handler(self, fold: Callable[[S, E], S]) -> Complete[E, S]:
        """The state after an event."""
        return Complete({**self._said, "fold": fold}, self._registered)

    def with_stream_handler(self, from_stream: Callable[[EventStream[E]], S]) -> Complete[E, S]:
        """The state from all events of an aggregate, each with its envelope."""
        return Complete({**self._said, "from_stream": from_stream}, self._registered)


class Complete(_Stage[E, S]):
    """Nothing that is needed is missing."""

    def with_version(self, version: int) -> Complete[E, S]:
        """Raised when the handler or the state's shape changes: the states are built anew."""
        return Complete({**self._said, "version": version}, self._registered)

    def with_inline_projection(self) -> Complete[E, S]:
        """Have what the pipeline stores write the new state too, in the same transaction."""
        return Complete({**self._said, "inline": True}, self._registered)

    def with_projections(self, *projections: Projection[Any]) -> Complete[E, S]:
        return Complete({**self._said, "projections": projections}, self._registered)

    def with_commands(self, *commands: CommandHandler[S]) -> Complete[E, S]:
        return Complete({**self._said, "commands": commands}, self._registered)

    def with_reactors(self, *reactors: Reactor) -> Complete[E, S]:
        return Complete({**self._said, "reactors": reactors}, self._registered)

    def build(self) -> Pipeline[E, S]:
        made: Pipeline[E, S] = Pipeline(**self._said)
        if self._registered is not None:
            self._registered(made)
        return made


@overload
def register_pipeline(events: type[E], state: type[S], initial: S | None = None) -> NeedsName[E, S]: ...
@overload
def register_pipeline(
    events: tuple[type[A], type[B]], state: type[S], initial: S | None = None
) -> NeedsName[A | B, S]: ...
@overload
def register_pipeline(
    events: tuple[type[A], type[B], type[C]], state: type[S], initial: S | None = None
) -> NeedsName[A | B | C, S]: ...
@overload
def register_pipeline(
    events: tuple[type[A], type[B], type[C], type[D]], state: type[S], initial: S | None = None
) -> NeedsName[A | B | C | D, S]: ...
@overload
def register_pipeline(
    events: tuple[type[A], type[B], type[C], type[D], type[F]], state: type[S], initial: S | None = None
) -> NeedsName[A | B | C | D | F, S]: ...
@overload
def register_pipeline(
    events: tuple[type[A], type[B], type[C], type[D], type[F], type[G]],
    state: type[S],
    initial: S | None = None,
) -> NeedsName[A | B | C | D | F | G, S]: ...
@overload
def register_pipeline(
    events: Sequence[type[E]], state: type[S], initial: S | None = None
) -> NeedsName[E, S]: ...
def register_pipeline(events: Any, state: Any, initial: Any = None) -> Any:
    """Begin a pipeline of these events (one, or several), and of the state that they make.

    `initial` is the state before the first event: `state()`, if it is left out. An event that others are derived from
    stands for all of them. `app.register_pipeline` does the same, and declares it with the app at `build()`.
    """
    return begin(events, state, initial)


def begin(
    events: Any,
    state: type[S],
    initial: S | None = None,
    registered: Callable[[Pipeline[Any, Any]], object] | None = None,
) -> NeedsName[Any, S]:
    """The first stage; `registered` is told of the pipeline when it is built."""
    models = [events] if isinstance(events, type) else list(events)
    if initial is None:
        try:
            initial = state()
        except (TypeError, ValueError) as error:
            raise DeclarationRefused(
                f"{state!r} cannot be made without arguments ({error}). Give the initial state: "
                "register_pipeline(events, state, initial)."
            ) from None
    said = {
        "events": [leaf for model in models for leaf in _leaves(model) or [model]],
        "state": state,
        "initial": initial,
    }
    return NeedsName(said, registered)


def _leaves(model: type[Event]) -> list[type[Event]]:
    """The models with a `type` of their own: this one, and those derived from it."""
    own = [model] if "type" in model.__annotations__ else []
    return [*own, *(leaf for derived in model.__subclasses__() for leaf in _leaves(derived))]

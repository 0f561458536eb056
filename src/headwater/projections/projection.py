"""A projection: a fold, which events it is of, and by what key its states are kept.

    def spent(state: Spent, event: Paid | Refunded) -> Spent:
        match event:
            case Paid(): return Spent(cents=state.cents + event.cents)
            case Refunded(): return Spent(cents=state.cents - event.cents)
            case _: assert_never(event)

    by_customer = Projection(
        "spent", state=Spent, initial=Spent(), fold=spent, events=(Paid, Refunded), key=lambda r: r.event.customer
    )

The fold is pure and total: it is tested with a list of events and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from headwater.errors import DeclarationRefused, StateUnreadable
from headwater.events.canonical import decode_json, encode_json
from headwater.events.envelope import Recorded
from headwater.events.model import Event, type_name
from headwater.events.names import check_name
from headwater.log.log import Log
from headwater.projections.open import store_for
from headwater.projections.stores import Store
from headwater.projections.tables import Table

S = TypeVar("S")


def by_stream(recorded: Recorded) -> str:
    """One state a stream: `type/id`."""
    row = recorded.row
    return f"{row[2]}/{row[3]}"


@dataclass(frozen=True, kw_only=True)
class _Declared(Generic[S]):
    state: type[S] | TypeAdapter[S]
    initial: S
    fold: Callable[[S, Any], S]
    events: tuple[type[Event], ...]
    key: Callable[[Recorded], str | None] = by_stream
    version: int = 1
    stream_types: tuple[str, ...] = ()
    store: Callable[[Log], Store] = store_for
    whole: Callable[[Sequence[Recorded]], S] | None = None
    """The state from all events of a stream, read again when there are new ones, in place of the fold."""
    table: Table[S] | None = None
    """A table of the user's own that shows the states (see `tables`)."""
    inline: bool = False
    """Whether a pipeline's appends write the new state too, in the same transaction (see `inline`)."""


@dataclass(frozen=True)
class Projection(_Declared[S]):
    """A named fold with its states by tenant and key.

    Raise `version` when the fold, the key or the state's shape changes: the states are then built anew beside those
    in use. `key` may leave an event out by answering None; where it raises, the projection stands still and says so.
    """

    name: str
    types: tuple[str, ...] = field(init=False)
    _adapter: TypeAdapter[S] = field(init=False, repr=False)
    _dump: Callable[..., Any] = field(init=False, repr=False)
    _what: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("projection", self.name)
        if not self.events:
            raise DeclarationRefused(f"Projection {self.name!r} names no events. Name those that it folds.")
        if self.version < 1:
            raise DeclarationRefused(f"Projection {self.name!r} has version {self.version}; they begin at 1.")
        if self.table is not None and (self.store is not store_for or self.inline):
            raise DeclarationRefused(
                f"Projection {self.name!r} has a table, whose rows move with the states in the log's own database, as "
                "the projector folds them. Leave out its store and inline=True."
            )
        if self.inline and (self.key, self.whole, self.store) != (by_stream, None, store_for):
            raise DeclarationRefused(
                f"Projection {self.name!r} is inline: its states are of single streams, folded event by event, and "
                "kept in the log's own database. Leave out its key and its store, or inline=True."
            )
        if self.inline and len(self.stream_types) != 1:
            raise DeclarationRefused(
                f"Projection {self.name!r} is inline: say of which one aggregate type, with stream_types=(...,)."
            )
        adapter = self.state if isinstance(self.state, TypeAdapter) else TypeAdapter(self.state)
        object.__setattr__(self, "types", tuple(type_name(model) for model in self.events))
        object.__setattr__(self, "_adapter", adapter)
        object.__setattr__(self, "_what", f"projection {self.name}")
        object.__setattr__(
            self, "_dump", adapter.serializer.to_python
        )  # a third faster than through the adapter

    def folded(self, events: Iterable[Event]) -> S:
        """The state after these events."""
        return reduce(self.fold, events, self.initial)

    def after(self, state: S, recorded: Iterable[Recorded]) -> S:
        """The state after this one and what else was recorded, as far as it is of types that are folded."""
        return reduce(self.fold, (one.event for one in recorded if one.type in self.types), state)

    def encode(self, state: S) -> bytes:
        """A state as canonical JSON: equal states are equal bytes."""
        return encode_json(self._dump(state, mode="json"), self._what)

    def decode(self, data: bytes) -> S:
        """A state from its bytes. What does not fit is an error, and never an empty start."""
        try:
            return self._adapter.validate_python(decode_json(data), strict=False)
        except (ValidationError, ValueError) as error:
            raise StateUnreadable(self.name, str(error)) from error

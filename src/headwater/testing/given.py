"""Given, when, then: folds and commands tested with lists of events and nothing else.

    given(order, Order()).events(Placed(total=10)).then_state(Order(open=True))
    given(order, Order()).events(Placed(total=10)).when(pay, Pay(amount=10)).then(Paid(amount=10))
    given(order, Order()).when(pay, Pay(amount=10)).then_raises(NotPlaced)

A fold is a function `(state, event) -> state`, or a `Fold` as `Folder` takes it; a handler is `(state, command) ->
events`. Both are typed: an event that the fold does not know is an error of the type checker. (So `events` is a
call of its own: beside the fold, mypy would widen the types of two different events until they fit no fold.)
"""

from __future__ import annotations

import difflib
import pprint
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import reduce
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel

from headwater.events.clock import ManualClock
from headwater.events.codec import Codec
from headwater.events.digest import GENESIS
from headwater.events.envelope import NewEvent, RawEvent, Recorded, StoredRow, Stream
from headwater.events.ids import TimeOrderedIds
from headwater.events.model import Event
from headwater.events.registry import Registry, RegistryDecoder
from headwater.log.prepare import Limits, Preparer
from headwater.log.snapshots import Fold
from headwater.log.write import Write

S = TypeVar("S")
E = TypeVar("E")
C = TypeVar("C")
X = TypeVar("X", bound=BaseException)

Stored = Event | RawEvent | NewEvent
_STREAM = Stream("given", "given")


class Given(Generic[S, E]):
    """A history, and the state that it folds to."""

    def __init__(self, fold: Callable[[S, Sequence[E], int], S], state: S, version: int = 0) -> None:
        self._fold, self._version = fold, version
        self.state = state

    def events(self, *events: E) -> Given[S, E]:
        """The same, with these events added."""
        return Given(self._fold, self._fold(self.state, events, self._version), self._version + len(events))

    def when(self, handler: Callable[[S, C], Iterable[E]], command: C) -> Decided[S, E]:
        """What the handler makes of a command."""
        produced: list[E] = []
        error: Exception | None = None
        try:
            produced = list(handler(self.state, command))
        except Exception as raised:  # noqa: BLE001  whether it should is for `then` to say
            error = raised
        return Decided(lambda events: self._fold(self.state, events, self._version), produced, error)

    def then_state(self, expected: S) -> None:
        """The state is this one."""
        __tracebackhide__ = True
        _same("state", [self.state], [expected])


class Decided(Generic[S, E]):
    """What came of a command: events, or an error."""

    def __init__(
        self, fold: Callable[[Sequence[E]], S], produced: Sequence[E], error: Exception | None
    ) -> None:
        self._fold, self._produced, self._error = fold, produced, error

    def then(self, *expected: E) -> Decided[S, E]:
        """Exactly these events came of it; none, when none are given."""
        __tracebackhide__ = True
        _same("events", self._events(), expected)
        return self

    def then_state(self, expected: S) -> Decided[S, E]:
        """With its events folded in, the state is this one."""
        __tracebackhide__ = True
        _same("state", [self._fold(self._events())], [expected])
        return self

    def then_raises(self, kind: type[X]) -> X:
        """The handler refused; the error, to look at."""
        __tracebackhide__ = True
        if isinstance(self._error, kind):
            return self._error
        if self._error is None:
            came = _pretty(self._produced) if self._produced else "no events"
            raise AssertionError(f"{kind.__name__} was expected, but the handler gave {came}.")
        raise AssertionError(
            f"{kind.__name__} was expected, but the handler raised {self._error!r}."
        ) from self._error

    def _events(self) -> Sequence[E]:
        __tracebackhide__ = True
        if self._error is not None:
            raise AssertionError(
                f"Events were expected, but the handler raised {self._error!r}."
            ) from self._error
        return self._produced


@overload
def given(fold: Fold[S]) -> Given[S, Stored]: ...
@overload
def given(fold: Callable[[S, E], S], initial: S) -> Given[S, E]: ...
def given(fold: Any, initial: Any = None) -> Given[Any, Any]:
    """Begin with a fold that has seen nothing."""
    if _takes_recorded(fold):
        return Given(_Records(fold).fold, fold.initial)
    return Given(lambda state, events, _: reduce(fold, events, state), initial)


def _takes_recorded(fold: object) -> bool:
    return isinstance(fold, Fold)


class _Records:
    """Gives events the envelope in which a `Fold` sees them, as if they had been appended one after the other."""

    def __init__(self, fold: Fold[Any]) -> None:
        clock, codec = ManualClock(), Codec()
        self._apply, self._codec = fold.apply, codec
        self._preparer = Preparer(codec, TimeOrderedIds(clock), clock, Limits(inline=Limits().payload))

    def fold(self, state: Any, events: Sequence[Stored], version: int) -> Any:
        models = {type(fact) for event in events if isinstance(fact := _fact(event), Event)}
        decoder = RegistryDecoder(Registry(*models), self._codec)
        [prepared] = self._preparer.prepare([Write(_STREAM, events)]).call.writes if events else [None]
        for row in prepared.rows if prepared else ():
            version += 1
            place = (version, _STREAM.tenant, _STREAM.type, _STREAM.id, version)
            columns: Any = (*place, *row[:5], row.occurred_at, *row[5:], GENESIS)
            state = self._apply(state, Recorded(StoredRow(*columns), decoder))
        return state


def _fact(event: Stored) -> Event | RawEvent:
    return event.event if isinstance(event, NewEvent) else event


def _same(what: str, found: Sequence[Any], expected: Sequence[Any]) -> None:
    __tracebackhide__ = True
    if list(found) == list(expected) and [type(x) for x in found] == [type(x) for x in expected]:
        return
    lines = difflib.ndiff(_pretty(expected).splitlines(), _pretty(found).splitlines())
    shown = "\n".join(line.rstrip() for line in lines if not line.startswith("?"))
    raise AssertionError(
        f"The {what} differ (- expected, + found):\n{shown}".replace("state differ", "state differs")
    )


def _pretty(values: Sequence[Any]) -> str:
    return "\n".join(_described(value) for value in values)


def _described(value: Any) -> str:
    """One line a field, so that a difference shows the field."""
    named = _fields(value)
    if named is None:
        return pprint.pformat(value, width=100, sort_dicts=False)
    inner = "".join(f"    {name}={field!r},\n" for name, field in named)
    return f"{type(value).__name__}(\n{inner})" if inner else f"{type(value).__name__}()"


def _fields(value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, BaseModel):
        return [(name, field) for name, field in value if not (name == "type" and isinstance(value, Event))]
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return None

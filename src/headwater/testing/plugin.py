"""What the pytest plugin's fixtures do: virtual time, and a log in memory. Their names are in `pytest_headwater`.

A log in memory opens without waiting for anything, so it needs no async fixture, and works with pytest-asyncio, with
anyio, in virtual time, and with none of them. Virtual time is the simulator's loop: when nothing is ready, it jumps to
the next timer, and a test that would wait for ever fails at once and says who waits.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from random import Random
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self, TypeVar

from headwater.errors import EventTypeError
from headwater.events.clock import SystemClock, from_us
from headwater.events.model import Event, type_name
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.testing.simulation import SimulationLoop
from headwater.testing.simulation.clock import SimulatedClock

T = TypeVar("T")


class VirtualTime:
    """A loop whose time passes only when nothing else is left to do."""

    def __init__(self) -> None:
        self._loop = SimulationLoop(0)
        self._clock = SimulatedClock(self._loop)

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the test began."""
        return self._loop.time()

    def now(self) -> datetime:
        """The virtual time of day, which starts alike in every test."""
        return from_us(self._clock.now_us())

    def now_us(self) -> int:
        """The log's clock: virtual in virtual time, the machine's where a test runs on another loop."""
        return (self._clock if self._loop.is_running() else SystemClock()).now_us()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine; what it has started is cancelled when it is done."""
        result = self._loop.run_until_complete(work)
        left = self._loop.pending_tasks()
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.close()


class Item(Protocol):
    """What of pytest's item is needed here."""

    obj: Any


@contextmanager
def run_instead(item: Item, time: VirtualTime) -> Generator[None]:
    """While this is entered, the item's function is a plain one that runs in virtual time."""
    given = item.obj
    test = inspect.unwrap(given, stop=inspect.iscoroutinefunction)
    if not inspect.iscoroutinefunction(test):
        yield
        return

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        time.run(test(*arguments, **fixtures))

    item.obj = run
    try:
        yield
    finally:
        item.obj = given


def imported_models(module: ModuleType) -> list[type[Event]]:
    """Every event model there is. Of two of one name the test module's own is taken, else neither."""
    found: dict[str, list[type[Event]]] = {}
    for model in _subclasses(Event):
        try:
            found.setdefault(type_name(model), []).append(model)
        except EventTypeError:
            continue  # one that others derive from
    own = {id(value) for value in vars(module).values()}
    chosen = ([model for model in models if id(model) in own] or models for models in found.values())
    return [models[0] for models in chosen if len(models) == 1]


def _subclasses(model: type[Event]) -> Iterator[type[Event]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def open_memory_log(time: VirtualTime, models: Sequence[type[Event]]) -> Log:
    """A log in memory that is open already."""
    log = Log(MemoryBackend(clock=time), Registry(*models), clock=time, random=Random(0))
    _at_once(log.reopen)
    return log


def _at_once(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run what waits for nothing."""
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("A log in memory opens without waiting.")

"""Async generators of a run: what is left of them is closed when the code lets go of it, or at the end, in order.

Promise. Which generator is closed when, and in what order, is the same on every replay, wherever the garbage collector
comes by.

Why it is right. A generator that the code drops is finalized at that very moment, by its count of references: this is
part of what the code does, and it is closed at once. One that only the collector finds (it stands in a cycle), or that
is dropped while no turn runs, is kept instead, and closed at the end with those that are still held, in the order
in which they began. So finding it or not changes nothing.

A finalizer cannot see who calls it, so the collector says when it is at work, and on which thread. Python has one pair
of hooks a thread, which the process's loop sets once; an *attendant* stands before them and tells a run's generators by
the loop that is running when they begin.

Rejected: switching the collector off for each turn (threads would switch it on and off for one another); a set of weak
references (it is ordered by addresses); setting the hooks for each turn (an audit event each, see `guards`).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final
from weakref import WeakValueDictionary

Generator = AsyncGenerator[Any, Any]
_running_loop = asyncio._get_running_loop  # noqa: SLF001


class _Collector:
    """On which thread the garbage collector is at work; 0 when it is not."""

    def __init__(self) -> None:
        self.thread = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        self.thread = threading.get_ident() if phase == "start" else 0

    @property
    def is_here(self) -> bool:
        return self.thread != 0 and self.thread == threading.get_ident()


_COLLECTOR: Final = _Collector()


class Generators:
    """Those of one run that have begun and have not ended."""

    def __init__(self, close: Callable[[Generator], object]) -> None:
        self._close = close
        self._begun = 0
        self._dead = False
        self._held: WeakValueDictionary[int, Generator] = WeakValueDictionary()
        self._kept: dict[int, Generator] = {}
        self._numbers: dict[int, int] = {}
        """By address; of those that came to their own end, some are still here."""

    def begin(self, generator: Generator) -> None:
        self._begun += 1
        self._held[self._begun] = generator
        if len(self._numbers) > 2 * len(self._held) + 64:
            self._numbers = {id(held): number for number, held in self._held.items()}
        self._numbers[id(generator)] = self._begun

    def finalize(self, generator: Generator, *, in_turn: bool) -> None:
        """Nobody refers to the generator any more."""
        if self._dead:
            return
        if _COLLECTOR.is_here or not in_turn:
            self._kept[self._numbers.pop(id(generator))] = generator
        else:
            self._close(generator)

    def knows(self, address: int) -> bool:
        return not self._dead and address in self._numbers

    def left(self) -> list[Generator]:
        """All that are left, in the order in which they began."""
        left = {**self._held, **self._kept}
        return [left[number] for number in sorted(left)]

    def clear(self) -> None:
        """Let go of all, without running their clean-up: their run is dead."""
        self._dead = True
        self._held.clear()
        self._kept.clear()


class _Attendant:
    """The hooks of one thread."""

    def __init__(self, before: Any) -> None:
        self._begin, self._finalize = before.firstiter, before.finalizer
        self._runs: dict[int, Generators] = {}
        self._most = 64

    def begin(self, generator: Generator) -> None:
        of_run = getattr(_running_loop(), "generators", None)
        if isinstance(of_run, Generators):
            of_run.begin(generator)
            self._runs[id(generator)] = of_run
            self._prune()
            return
        self._runs.pop(id(generator), None)
        if self._begin is not None:
            self._begin(generator)

    def finalize(self, generator: Generator) -> None:
        of_run = self._runs.pop(id(generator), None)
        if of_run is not None:
            in_turn = getattr(_running_loop(), "generators", None) is of_run
            of_run.finalize(generator, in_turn=in_turn)
        elif self._finalize is not None:
            self._finalize(generator)

    def _prune(self) -> None:
        if len(self._runs) > self._most:
            self._runs = {address: run for address, run in self._runs.items() if run.knows(address)}
            self._most = max(64, 2 * len(self._runs))


def attend() -> None:
    """Have this thread's hooks tell apart what belongs to runs."""
    hooks = sys.get_asyncgen_hooks()
    if getattr(hooks.firstiter, "__func__", None) is not _Attendant.begin:
        attendant = _Attendant(hooks)
        sys.set_asyncgen_hooks(firstiter=attendant.begin, finalizer=attendant.finalize)

"""Async generators of a run: what is left of them is closed when the code lets go of it, or at the end, in order.

Promise. Which generator is closed when, and in what order, is the same on every replay, wherever the garbage collector
comes by.

Why it is right. A generator that the code drops is finalized at that very moment, by its count of references: this is
part of what the code does, and it is closed at once. One that only the collector finds (it stands in a cycle), or that
is dropped while no turn runs, is kept instead, and closed at the end with those that are still held, in the order
in which they began. So finding it or not changes nothing.

A finalizer cannot see who calls it, so the collector says when it is at work, and on which thread. Rejected: switching
the collector off for each turn (threads would switch it on and off for one another); a set of weak references (it is
ordered by addresses).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final
from weakref import WeakValueDictionary

Generator = AsyncGenerator[Any, Any]


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
    """Those that have begun and have not ended."""

    def __init__(self, may_close: Callable[[], bool], close: Callable[[Generator], object]) -> None:
        self._may_close, self._close = may_close, close
        self._begun = 0
        self._dead = False
        self._held: WeakValueDictionary[int, Generator] = WeakValueDictionary()
        self._kept: dict[int, Generator] = {}
        self._numbers: dict[int, int] = {}

    def begin(self, generator: Generator) -> None:
        self._begun += 1
        self._held[self._begun] = generator
        if len(self._numbers) > 2 * len(self._held) + 64:  # those that came to their own end
            self._numbers = {id(held): number for number, held in self._held.items()}
        self._numbers[id(generator)] = self._begun

    def finalize(self, generator: Generator) -> None:
        """Nobody refers to the generator any more."""
        if self._dead:
            return
        number = self._numbers.pop(id(generator))
        if _COLLECTOR.is_here or not self._may_close():
            self._kept[number] = generator
        else:
            self._close(generator)

    def left(self) -> list[Generator]:
        """All that are left, in the order in which they began."""
        left = {**self._held, **self._kept}
        return [left[number] for number in sorted(left)]

    def clear(self) -> None:
        """Let go of all, without running their clean-up: their run is dead."""
        self._dead = True
        self._held.clear()
        self._kept.clear()

"""Folding makes tens of thousands of objects that live on, and no cycles. Python's cycle collector would look for some
in vain again and again, for about as long as the folding itself takes.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Final

_SELDOM: Final = 50_000


class _Seldom:
    """How many are at it, in all threads, and what to go back to."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._within = 0
        self._usual = gc.get_threshold()

    def enter(self) -> None:
        with self._lock:
            if not self._within:
                self._usual = gc.get_threshold()
                young, *older = self._usual
                gc.set_threshold(young and max(young, _SELDOM), *older)  # 0 means never
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                gc.set_threshold(*self._usual)


_seldom: Final = _Seldom()


@contextmanager
def seldom_collected() -> Generator[None]:
    """With the cycle collector coming by more seldom, for a stretch that awaits: whatever runs meanwhile has it too."""
    _seldom.enter()
    try:
        yield
    finally:
        _seldom.leave()


@contextmanager
def uncollected() -> Generator[None]:
    """Without the cycle collector, for a stretch that awaits nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

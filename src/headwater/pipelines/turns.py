"""Turns at one aggregate: those of one process who would decide on it at once, and conflict, go one after the other.

It saves their conflicts, and promises nothing: what other processes do is found by the version that an append expects.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from headwater.events.envelope import Stream


class Turns:
    """A lock for each aggregate that somebody is at, on each event loop."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[int, Stream], asyncio.Lock] = WeakValueDictionary()

    def at(self, stream: Stream) -> asyncio.Lock:
        """Held while it is one's turn."""
        place = (id(asyncio.get_running_loop()), stream)
        lock = self._locks.get(place)
        if lock is None:
            lock = self._locks[place] = asyncio.Lock()
        return lock

"""Waiting for the log to grow: one watcher for all the subscriptions of a log.

Truth is what the backend reads. With every hint lost, the watcher looks at the tail after `poll` seconds. A hint makes
it look at once; one that names a position does more, and must be handled with care, because a hint may lie (it may be
of a log that lost its end, or be made up).

- A hint at or before the known tail says nothing new. Most are of this kind, our own announcements coming back: they
  cost no query. What they hide at worst, the poll finds: it is counted from the last look and not from the last hint.
- A hint past the known tail wakes those who wait before its position at once. They read the log themselves, so they
  do not wait for our look at the tail, which goes on beside theirs. A hint never moves the known tail: else one that
  is far too high would keep everybody reading, and nobody would wait any more. A liar costs each of them one reading.
- Who must not be woken in vain (`surely`) waits for the look.
- The look settles what the hint said. If it lied, strangers are told once more, since an append that they were told
  of too early may have come between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headwater.errors import LogClosed, LogUnavailable
from headwater.log.port import DEFAULT_SHARD, Backend, Hints


class Live:
    """Tells waiters that the log has grown past where they are."""

    def __init__(self, backend: Backend, hints: Callable[[], Hints], poll: float) -> None:
        self._backend, self._hints, self._poll = backend, hints, poll
        self._tail = 0
        self._told = 0
        self._others = 0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._sure: set[asyncio.Future[None]] = set()
        self._strangers: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def saw(self, position: int, own: int = 0) -> None:
        """The log is known to reach `position`, with so many events of our own since it was last seen."""
        if position > self._tail:
            if position - self._tail > own and position > self._told:
                self._tell_strangers()
            self._tail = position
            for waiter, after in list(self._waiters.items()):
                if position > after:
                    _wake(waiter)

    async def beyond(self, position: int, *, surely: bool = False) -> None:
        """Return when the log holds something after `position`, or, unless `surely`, is said to."""
        if self._tail > position:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = position
        if surely:
            self._sure.add(waiter)
        try:
            await self._until(waiter)
        finally:
            del self._waiters[waiter]
            self._sure.discard(waiter)

    async def others(self, seen: int) -> int:
        """Return when other processes may have appended since the count `seen`: the count now."""
        if self._others == seen:
            stranger: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._strangers.add(stranger)
            try:
                await self._until(stranger)
            finally:
                self._strangers.discard(stranger)
        return self._others

    async def _until(self, waiter: asyncio.Future[None]) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="headwater-live")
        await asyncio.wait([waiter, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not waiter.done():
            if not self._task.cancelled() and (defect := self._task.exception()):
                raise defect
            raise LogClosed

    async def _watch(self) -> None:
        while self._waiters or self._strangers:
            try:
                self._settle((await self._backend.tail(DEFAULT_SHARD)).position)
            except LogUnavailable:
                await asyncio.sleep(self._poll)  # it comes back, and so do we
            else:
                await self._hear()

    async def _hear(self) -> None:
        """Return when it is time to look at the tail."""
        now = asyncio.get_running_loop().time
        until = now() + self._poll
        while (left := until - now()) > 0:
            position = await self._hints().wait(left)
            if position is None:
                return
            if position > self._tail:
                self._believe(position)
                return

    def _believe(self, position: int) -> None:
        self._told = position
        self._tell_strangers()
        for waiter, after in list(self._waiters.items()):
            if position > after and waiter not in self._sure:
                _wake(waiter)

    def _settle(self, tail: int) -> None:
        self.saw(tail)
        if tail < self._told:
            self._tell_strangers()
        self._told = 0

    def _tell_strangers(self) -> None:
        self._others += 1
        for stranger in self._strangers:
            _wake(stranger)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

"""Waiting for the log to grow: one watcher for all the subscriptions of a log.

Truth is the tail that the backend reads. A hint (another process's message, an append of this process) only
makes the watcher look at once; with every hint lost, it looks after `poll` seconds.
"""

from __future__ import annotations

import asyncio

from headwater.errors import LogClosed, LogUnavailable
from headwater.log.port import DEFAULT_SHARD, Backend


class Live:
    """Tells waiters that the log has grown past where they are."""

    def __init__(self, backend: Backend, poll: float) -> None:
        self._backend, self._poll = backend, poll
        self._tail = 0
        self._others = 0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._strangers: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def saw(self, position: int, own: int = 0) -> None:
        """The log is known to reach `position`, with so many events of our own since it was last seen."""
        if position > self._tail:
            if position - self._tail > own:
                self._others += position - self._tail - own
                for stranger in self._strangers:
                    if not stranger.done():
                        stranger.set_result(None)
            self._tail = position
            for waiter, after in list(self._waiters.items()):
                if position > after and not waiter.done():
                    waiter.set_result(None)

    async def beyond(self, position: int) -> None:
        """Return when the log holds something after `position`."""
        if self._tail > position:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = position
        try:
            await self._until(waiter)
        finally:
            del self._waiters[waiter]

    async def others(self, seen: int) -> int:
        """Return when other processes have appended since the count `seen`: the count now."""
        if self._others == seen:
            stranger = asyncio.get_running_loop().create_future()
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
                self.saw((await self._backend.tail(DEFAULT_SHARD)).position)
            except LogUnavailable:
                await asyncio.sleep(self._poll)  # it comes back, and so do we
            else:
                await self._backend.hints.wait(self._poll)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

"""A worker among workers: its name, its lease, and the burial of those that are gone.

A heartbeat renews the lease by the database's clock, and a sweep frees what is held by workers whose lease has passed.
On one host a dead process is seen at once, and not after its lease. A worker that finds itself swept away was stopped
for longer than its lease: what it held is others' by now, so it drops everything and goes on under another name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from headwater.engine.place import is_gone
from headwater.errors import HeadwaterError, LogClosed, Trouble
from headwater.events.canonical import encode_json
from headwater.events.clock import Clock
from headwater.log.log import Log
from headwater.log.ownership import WorkerRow

LOGGER: Final = logging.getLogger("headwater.engine")
_GLANCE: Final = 0.5
_STILL: Final = 1.0


class Membership:
    """This worker's place among the others."""

    def __init__(
        self,
        log: Log,
        *,
        lease: float,
        says: dict[str, Any],
        name: Callable[[], str],
        place: Callable[[], str],
        clock: Clock,
        freed: Callable[[], None],
        buried: Callable[[], None],
    ) -> None:
        self.worker = ""
        self._log, self._lease, self._says = log, lease, encode_json(says, "worker")
        self._name, self._place, self._clock = name, place, clock
        self._freed, self._buried = freed, buried
        self._offset_us = 0
        self._beat_at = 0.0
        self._turn = asyncio.Lock()

    def now_us(self) -> int:
        """The database's time, as well as this worker knows it, whatever the machine's clock is set to."""
        return self._clock.now_us() + self._offset_us

    async def enrol(self) -> None:
        """Make this worker known, under a new name."""
        worker = self._name()
        row = WorkerRow(worker, self._place(), int(self._lease * 1_000_000), self._says)
        await self._log.backend.enrol(row)
        self.worker = worker
        self._offset_us = await self._log.backend.now_us() - self._clock.now_us()

    async def begin_anew(self) -> None:
        """Let go of everything, heard of or not, and go on under another name; insist on it, since nobody else will."""
        before, pause = self.worker, 0.05
        async with self._turn:
            while self.worker == before:
                self._buried()
                try:
                    await self._log.backend.sweep(left=[before])
                    await self.enrol()
                except LogClosed:
                    raise
                except Trouble as trouble:
                    LOGGER.warning("This worker cannot begin anew yet: %s", trouble)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 2.0)
        self._freed()

    async def leave(self) -> None:
        """Hand back everything."""
        try:
            await self._log.backend.sweep(left=[self.worker])
        except HeadwaterError as error:
            LOGGER.warning("This worker could not hand back what it holds; its lease will: %s", error)

    async def beat(self) -> bool:
        """Renew the lease and sweep if it is time, which is what it returns, and have a look at the neighbours."""
        loop = asyncio.get_running_loop()
        due = loop.time() >= self._beat_at
        if due:
            await self.beat_once()
            await self._sweep([])
            self._beat_at = loop.time() + self._lease / 3
        await self._glance(min(max(0.0, self._beat_at - loop.time()), _GLANCE))
        workers = await self._log.backend.workers()
        gone = [w.id for w in workers if w.id != self.worker and is_gone(w.place)]
        if gone:
            await self._sweep(gone)
        return due

    async def beat_once(self) -> None:
        """Renew the lease, and learn the database's time."""
        asked = self._clock.now_us()
        now = await self._log.backend.beat(self.worker, self._says)
        if now is None:
            LOGGER.warning(
                "This worker was stopped for longer than its lease and taken for dead. It begins anew."
            )
            await self.begin_anew()
        else:
            self._offset_us = now - (asked + self._clock.now_us()) // 2

    async def _glance(self, seconds: float) -> None:
        """Wait for a moment, and say so if the process could do nothing else for much longer than that."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(seconds)
        late = loop.time() - began - seconds
        if late > min(self._lease / 3, _STILL):
            LOGGER.warning(
                "This worker stood still for %.1f s: something blocks its event loop. If it is a step, make it a sync "
                "function (it runs in a thread then). Past the lease of %.0f s, others take its runs.",
                late,
                self._lease,
            )

    async def _sweep(self, dead: list[str]) -> None:
        swept = await self._log.backend.sweep(dead=dead)
        if swept.fences or swept.ready:
            LOGGER.info("Freed %d runs and %d steps of workers that are gone.", swept.fences, swept.ready)
            self._freed()

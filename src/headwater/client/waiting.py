"""Waiting for runs to end: one reader of the log for all who wait.

A run that ends in this process is told of by its engine. For the others the log is followed, from before the first look
at the run: so its end is seen either by that look, or by the reader. A run that was created here, further on than the
reader has come, cannot have ended where the reader has been: it needs no look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, cast

import orjson

from headwater.client.handle import RunEnd
from headwater.errors import HeadwaterError, LogClosed, RunHeldError
from headwater.events.model import Event
from headwater.log.cursor import Cursor
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD
from headwater.runs.events import RunHeld
from headwater.runs.reading import RunReader
from headwater.runs.rows import STREAM_TYPE, run_stream

LOGGER: Final = logging.getLogger("headwater.client")
_ENDS: Final = ("run_completed", "run_failed", "run_cancelled", "run_held")
_REMEMBERED: Final = 1000
_PATIENCE: Final = 2.0

Key = tuple[str, str]


class Waiting:
    """Those who wait for runs."""

    def __init__(
        self, log: Log, runs: RunReader, is_ours: Callable[[Key], bool], tenant: str | None = None
    ) -> None:
        self._log, self._runs, self._is_ours, self._tenant = log, runs, is_ours, tenant
        self._waiters: dict[Key, list[asyncio.Future[RunEnd]]] = {}
        self._ended: OrderedDict[Key, RunEnd] = OrderedDict()
        self._created: OrderedDict[Key, int] = OrderedDict()
        self._read_to = -1
        self._follower: asyncio.Task[None] | None = None
        self._following = asyncio.Event()
        self._warned: set[str] = set()

    def has_ended(self, tenant: str, run: str, event: Event) -> None:
        """A run has ended, or is held: then nobody knows for how long, and who waits is told."""
        if isinstance(event, RunHeld):
            for waiter in self._waiters.pop((tenant, run), ()):
                if not waiter.done():
                    waiter.set_exception(RunHeldError(run, event.reason, event.message))
                    waiter.exception()
            return
        end = cast(RunEnd, event)
        self._ended[tenant, run] = end
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        for waiter in self._waiters.pop((tenant, run), ()):
            if not waiter.done():
                waiter.set_result(end)

    def has_created(self, key: Key, position: int) -> None:
        """A run was created by this process, with its first event at a position."""
        self._created[key] = position
        while len(self._created) > _REMEMBERED:
            self._created.popitem(last=False)

    async def wait_for(self, key: Key, label: str | None, timeout: float | None) -> RunEnd:
        """How a run ended, when it has."""
        known = self._ended.get(key)
        if known is not None:
            return known
        waiter: asyncio.Future[RunEnd] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, []).append(waiter)
        try:
            async with asyncio.timeout(timeout):
                if self._is_ours(key):
                    done, _ = await asyncio.wait([waiter], timeout=_PATIENCE)
                    if done:
                        return waiter.result()
                if not 0 <= self._read_to < self._created.pop(key, 0):
                    await self._look(key)
                done, _ = await asyncio.wait([waiter], timeout=_PATIENCE)
                if not done and label is not None:
                    await self._check_served(label)
                return await waiter
        finally:
            mine = self._waiters.get(key, [])
            if waiter in mine:
                mine.remove(waiter)
                if not mine:
                    del self._waiters[key]

    async def _look(self, key: Key) -> None:
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="headwater-results")
        await self._following.wait()
        tenant, run = key
        ended = await self._runs.outcome(run, tenant)
        if ended is not None:
            self.has_ended(tenant, run, ended)
            return
        listed = await self._runs.list(tenant, status="held", runs=[run])
        if listed:
            async for recorded in self._log.stream(run_stream(run, tenant), backward=True, limit=20):
                if recorded.type == "run_held":
                    self.has_ended(tenant, run, recorded.event)
                    return

    async def _follow(self) -> None:
        after = None
        while True:
            try:
                if after is None:
                    after = await self._log.head()
                    self._read_to = _position(after)
                    self._following.set()
                async for page in self._log.pages(
                    after, follow=True, tenant=self._tenant, stream_types=(STREAM_TYPE,), types=_ENDS
                ):
                    for recorded in page.events:
                        if (recorded.tenant, recorded.stream.id) in self._waiters:
                            self.has_ended(recorded.tenant, recorded.stream.id, recorded.event)
                    after = page.cursor
                    self._read_to = _position(after)
            except LogClosed:
                return
            except HeadwaterError as error:
                LOGGER.warning("Following the log failed and begins again: %s", error)
                await asyncio.sleep(0.5)

    async def _check_served(self, label: str) -> None:
        """Say so when no living worker could execute the run."""
        now = await self._log.backend.now_us()
        for worker in await self._log.backend.workers():
            if worker.beat_at + worker.lease_us > now and label in orjson.loads(worker.data).get(
                "labels", ()
            ):
                return
        if label not in self._warned:
            self._warned.add(label)
            name = label.partition("~")[0]
            LOGGER.warning(
                "Nobody serves workflow %s: the run waits until a worker starts (headwater worker MODULE:APP, or "
                "app.connect(worker=True)).",
                name,
            )

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(LogClosed("The client was closed while the run was going on."))
                    waiter.exception()


def _position(cursor: Cursor) -> int:
    return cursor.places[DEFAULT_SHARD].position

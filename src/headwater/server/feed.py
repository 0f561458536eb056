"""One reader of the log for all who look on: events are read and written as text once, however many follow.

Promise. A follower that has seen everything up to a cursor gets every later event that it asked for, once and in order,
however slow it is and however often it comes back.

Why it is right. A follower is registered first, then reads the log itself from its cursor up to its end; so what the
reader brings meanwhile is in its buffer, and what both have is told by position. A buffer that overflows is thrown
away, and the follower reads the log again from where it is: a slow client costs one bounded buffer and repeated reads
of its own, and never slows the others. The reader of a tenant runs while somebody follows it, and is one for
all of them; a tenant each, since a login of `headwater_server` may read one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import orjson

from headwater.errors import CursorRefused, HeadwaterError, LogClosed
from headwater.events.envelope import Recorded, Stream
from headwater.log.cursor import Cursor
from headwater.log.log import Log
from headwater.log.plain import event_json

LOGGER: Final = logging.getLogger("headwater.server")
BUFFER: Final = 1000
BATCH: Final = 100


class Told:
    """An event, as text that is made once for all followers."""

    __slots__ = ("_log", "_text", "recorded")

    def __init__(self, log: Log, recorded: Recorded) -> None:
        self._log, self.recorded = log, recorded
        self._text: bytes | None = None

    @property
    def text(self) -> bytes:
        """It as a server-sent event, whose id is the cursor behind it."""
        if self._text is None:
            fields = event_json(self._log, self.recorded)
            data = orjson.dumps(fields, default=str)
            self._text = b"id: %b\nevent: event\ndata: %b\n\n" % (fields["cursor"].encode(), data)
        return self._text


Wanted = Callable[[Recorded], bool]
CatchUp = Callable[[Cursor | None], AsyncIterator[Recorded]]


def everything(_: Recorded) -> bool:
    return True


class Follower:
    """One who looks on: at one stream, or at all that it wants of a tenant."""

    def __init__(self, stream: Stream | None = None, wanted: Wanted = everything) -> None:
        self.stream, self.wanted = stream, wanted
        self.buffer: deque[Told] = deque()
        self.behind = True
        self._woken = asyncio.Event()

    def tell(self, told: Told) -> None:
        if len(self.buffer) >= BUFFER:
            self.buffer.clear()
            self.behind = True
        if not self.behind:
            self.buffer.append(told)
        self._woken.set()

    def fall_behind(self) -> None:
        """Look at the log again: what the reader brought is not all."""
        self.behind = True
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def taken(self, most: int = BATCH) -> list[Told]:
        """What has come, the oldest first."""
        return [self.buffer.popleft() for _ in range(min(most, len(self.buffer)))]

    async def wait(self, timeout: float) -> bool:
        """Whether there is something to look at; False after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Feeds:
    """The readers of a log, one a tenant."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._feeds: dict[str, _Feed] = {}
        self.closing = False

    @property
    def followers(self) -> int:
        """How many look on now."""
        return sum(feed.followers for feed in self._feeds.values())

    @asynccontextmanager
    async def watching(self, tenant: str, follower: Follower) -> AsyncGenerator[None]:
        """From now on, the follower is told of what is appended."""
        feed = self._feeds.get(tenant)
        if feed is None:
            feed = self._feeds[tenant] = _Feed(self._log, tenant)
        feed.add(follower)
        try:
            await feed.started()
            yield
        finally:
            feed.discard(follower)
            if not feed.followers:
                self._feeds.pop(tenant, None)
                feed.stop()

    async def follow(
        self, tenant: str, follower: Follower, catch_up: CatchUp, after: Cursor | None, heartbeat: float
    ) -> AsyncIterator[list[Told]]:
        """What was asked for after a cursor, and then as it comes; an empty list after `heartbeat` idle seconds."""
        position = after.position if after else 0
        async with self.watching(tenant, follower):
            while not self.closing:
                if follower.behind:
                    follower.behind = False
                    batch: list[Told] = []
                    async for recorded in catch_up(after):
                        if recorded.position > position:
                            position, after = recorded.position, self._log.cursor(recorded)
                            batch.append(Told(self._log, recorded))
                        if len(batch) >= BATCH:
                            yield batch
                            batch = []
                    if batch:
                        yield batch
                    continue
                batch = [told for told in follower.taken() if told.recorded.position > position]
                if batch:
                    last = batch[-1].recorded
                    position, after = last.position, self._log.cursor(last)
                    yield batch
                elif not follower.buffer and not await follower.wait(heartbeat):
                    yield []

    def close(self) -> None:
        """Have all followers end."""
        self.closing = True
        for feed in self._feeds.values():
            for follower in feed.all():
                follower.wake()


class _Feed:
    """The reader of one tenant."""

    def __init__(self, log: Log, tenant: str) -> None:
        self._log, self._tenant = log, tenant
        self._of_stream: dict[Stream, set[Follower]] = {}
        self._of_all: set[Follower] = set()
        self.followers = 0
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self._read(), name="headwater-feed")

    def add(self, follower: Follower) -> None:
        self.followers += 1
        if follower.stream is None:
            self._of_all.add(follower)
        else:
            self._of_stream.setdefault(follower.stream, set()).add(follower)

    def discard(self, follower: Follower) -> None:
        self.followers -= 1
        self._of_all.discard(follower)
        if follower.stream is not None:
            there = self._of_stream[follower.stream]
            there.discard(follower)
            if not there:
                del self._of_stream[follower.stream]

    def all(self) -> list[Follower]:
        return [*self._of_all, *(one for there in self._of_stream.values() for one in there)]

    async def started(self) -> None:
        await self._started.wait()

    async def _read(self) -> None:
        after: Cursor | None = None
        while True:
            try:
                if after is None:
                    after = await self._log.head()
                    for follower in self.all():  # what came before, they read themselves
                        follower.fall_behind()
                    self._started.set()
                async for page in self._log.pages(after, follow=True, tenant=self._tenant):
                    for recorded in page.events:
                        self._tell(recorded)
                    after = page.cursor
            except LogClosed:
                return
            except CursorRefused as error:
                LOGGER.warning(
                    "The log was replaced; following tenant %s begins at its end: %s", self._tenant, error
                )
                after = None
            except HeadwaterError as error:
                LOGGER.warning("Following tenant %s failed and goes on: %s", self._tenant, error)
                await asyncio.sleep(0.5)

    def _tell(self, recorded: Recorded) -> None:
        told = Told(self._log, recorded)
        for follower in self._of_stream.get(recorded.stream, ()):
            follower.tell(told)
        for follower in self._of_all:
            if follower.wanted(recorded):
                follower.tell(told)

    def stop(self) -> None:
        self._task.cancel()

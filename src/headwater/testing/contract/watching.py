"""Readers that watch the log while others write, and notice the first position skipped, repeated or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from headwater.log.cursor import Cursor
from headwater.log.log import Log, LogOptions
from headwater.testing.contract.site import Site


class Watch:
    """What some readers have seen; each has seen 1, 2, 3 and so on, or the watch has failed."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._readers: list[asyncio.Task[None]] = []
        self._moved = asyncio.Event()

    def add(self, read: Callable[[Callable[[int], None]], Awaitable[None]]) -> None:
        number = len(self.seen)
        self.seen.append(0)

        def saw(position: int) -> None:
            expected = self.seen[number] + 1
            assert position == expected, f"reader {number} was to see position {expected}, but saw {position}"
            self.seen[number] = position
            self._moved.set()

        async def run() -> None:
            await read(saw)

        self._readers.append(asyncio.create_task(run(), name=f"reader-{number}"))

    async def reached(self, position: int) -> None:
        """Return when every reader has seen this position; fail as soon as one has seen something wrong."""
        while min(self.seen) < position:
            self._moved.clear()
            moved = asyncio.create_task(self._moved.wait())
            done, _ = await asyncio.wait([moved, *self._readers], return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            for reader in self._readers:
                if reader in done:
                    reader.result()

    async def stop(self) -> None:
        for reader in self._readers:
            reader.cancel()
        for outcome in await asyncio.gather(*self._readers, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome


@asynccontextmanager
async def watched(site: Site) -> AsyncGenerator[Watch]:
    """Watch the log from handles of their own, by subscription and by polling; on exit they must see all of it."""
    async with site.open(options=LogOptions(poll=0.02)) as live, site.open() as polled:
        watch = Watch()
        watch.add(lambda saw: _subscribe(live, saw))
        watch.add(lambda saw: _poll(polled, saw))
        try:
            yield watch
            await watch.reached((await polled.head()).position)
        finally:
            await watch.stop()


async def _subscribe(log: Log, saw: Callable[[int], None]) -> None:
    async for page in log.pages(follow=True, page=7):
        for event in page.events:
            saw(event.position)


async def _poll(log: Log, saw: Callable[[int], None]) -> None:
    cursor: Cursor | None = None
    while True:
        async for page in log.pages(cursor, page=5):
            for event in page.events:
                saw(event.position)
            cursor = page.cursor
        await asyncio.sleep(0.003)

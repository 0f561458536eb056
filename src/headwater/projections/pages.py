"""The log in pages for a fold: the next one is read while this one is folded, and large events make small pages.

A fold that has time reads no page `ahead`: it is never at work twice at once, here and in the server.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from headwater.errors import HeadwaterError
from headwater.log.port import Backend, Page, Query

_BYTES: Final = 16 * 1024 * 1024
"""What the payloads of a page should come to at most."""


class Pages:
    """Pages of one query."""

    def __init__(self, backend: Backend, query: Query, *, ahead: bool = True) -> None:
        self._backend, self._query, self._limit, self._reads_ahead = backend, query, query.limit, ahead
        self._ahead: asyncio.Task[Page] | None = None
        self._ahead_of = -1

    async def after(self, position: int) -> Page:
        """The page after a position; the one behind it may then be on its way."""
        if self._ahead_of != position:
            await self.close()
        task, self._ahead, self._ahead_of = self._ahead, None, -1
        page = await (task or self._read(position))
        self._measure(page)
        if self._reads_ahead and not page.done:
            self._ahead, self._ahead_of = asyncio.create_task(self._read(page.seen)), page.seen
            await asyncio.sleep(0)  # so that it goes out before the caller folds
        return page

    async def close(self) -> None:
        """Forget what is on its way."""
        task, self._ahead, self._ahead_of = self._ahead, None, -1
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, HeadwaterError):
                await task

    async def _read(self, position: int) -> Page:
        return await self._backend.read(replace(self._query, after=position, limit=self._limit))

    def _measure(self, page: Page) -> None:
        held = sum(len(row[17] or b"") for row in page.rows)
        fits = self._query.limit * _BYTES // held if held else self._query.limit
        self._limit = max(1, min(self._query.limit, fits))

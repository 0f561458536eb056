"""When to tell other processes of an append: at once, and under load not all the time.

One announcement is under way at a time, and what is appended meanwhile goes with the next. A few may follow each other
without a pause, so that a short run, which is a few appends, is not slowed down between them; after those they are
five milliseconds apart, so that a busy process does not keep all the others awake. Appends never wait for any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_APART: Final = 0.005
_IN_A_ROW: Final = 8


class Announcer:
    """Hands the latest position of each shard to `send`, which may not raise."""

    def __init__(self, send: Callable[[int, int], Awaitable[None]]) -> None:
        self._send = send
        self._latest: dict[int, int] = {}
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def announce(self, shard: int, position: int) -> None:
        """Tell the others, soon."""
        self._latest[shard] = max(position, self._latest.get(shard, 0))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._announce(), name="headwater-announce")

    async def _announce(self) -> None:
        now = asyncio.get_running_loop().time
        while self._latest:
            latest, self._latest = self._latest, {}
            for shard, position in latest.items():
                await self._send(shard, position)
            self._next = max(self._next, now() - _IN_A_ROW * _APART) + _APART
            if (pause := self._next - now()) > 0:
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Leave the rest untold."""
        self._latest.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

"""What a process has heard of the log since it last asked."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from headwater.log.port import DEFAULT_SHARD

_SAID: Final = re.compile(rf"{DEFAULT_SHARD}:([0-9]{{1,19}})")


def say(shard: int, position: int) -> str:
    """An announcement as it goes to other processes."""
    return f"{shard}:{position}"


class Heard:
    """Keeps hints until somebody waits for one."""

    def __init__(self) -> None:
        self._any = False
        self._vague = False
        self._position = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def hear(self, position: int | None = None) -> None:
        """The log is said to have grown, to a position if that was said too."""
        self._any = True
        self._vague = self._vague or position is None
        self._position = max(self._position, position or 0)
        for waiter in self._waiters:
            _end(waiter)

    def hear_said(self, text: str) -> None:
        """An announcement has come; one that makes no sense, or is of another shard, says nothing of a position."""
        said = _SAID.fullmatch(text)
        self.hear(int(said[1]) if said else None)

    async def wait(self, timeout: float) -> int | None:
        """The highest position heard of since the last call; None after `timeout` seconds, or if none was said."""
        if not self._any:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            timer = loop.call_later(timeout, _end, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)
        position = self._position if self._any and not self._vague else None
        self._any = self._vague = False
        self._position = 0
        return position


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

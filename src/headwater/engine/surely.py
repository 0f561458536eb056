"""Asking until there is an answer: for what must be known before a step can go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headwater.errors import LogClosed, Trouble

T = TypeVar("T")
_LONGEST = 2.0


async def surely(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, however long the log cannot be reached."""
    pause = 0.05
    while True:
        try:
            return await ask()
        except LogClosed:
            raise
        except Trouble:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST)

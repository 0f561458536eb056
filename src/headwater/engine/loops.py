"""Loops that never end: begun again when they fail, and known by what they get done.

Every loop goes round at least once a second when all is well, if only to find that there was nothing to do. What counts
is a round that went well: a loop that fails again and again, or that waits for an answer which does not come, falls
behind, however alive its task is (see `health`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

from headwater.errors import HeadwaterError, LogClosed

LOGGER: Final = logging.getLogger("headwater.engine")
ROUND: Final = 1.0
"""The longest that a loop waits for something to do before it goes round."""
_LONGEST: Final = 2.0


class Loops:
    """The loops of one engine."""

    def __init__(self, random: Random) -> None:
        self.progress: dict[str, float] = {}
        """When each loop last went round, in the event loop's time."""
        self.failing: dict[str, str] = {}
        """What each loop that did not go round the last time has failed of."""
        self.tasks: list[asyncio.Task[None]] = []
        self._random = random

    def begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something for ever."""
        self.went(name)
        self.tasks.append(asyncio.create_task(self._keep(name, work), name=f"headwater-{name}"))

    def went(self, name: str) -> None:
        """A loop is getting on: it has gone round, or has done a good part of a long round."""
        self.progress[name] = asyncio.get_running_loop().time()

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.05
        while True:
            try:
                await work()
            except LogClosed:
                return
            except Exception as error:
                self.failing[name] = str(error) or type(error).__name__
                known = isinstance(error, HeadwaterError)
                LOGGER.warning("The %s loop failed and begins again: %s", name, error, exc_info=not known)
                await asyncio.sleep(pause * (0.5 + self._random.random()))
                pause = min(pause * 2, _LONGEST)
            else:
                pause = 0.05
                self.failing.pop(name, None)
                self.went(name)


async def told(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation on Python 3.11
            await event.wait()

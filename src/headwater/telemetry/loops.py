"""Loops that never end: begun again when they fail, and known by what they get done.

Every loop goes round at least once a second when all is well, if only to find that there was nothing to do. What counts
is a round that went well: a loop that fails again and again, or that waits for an answer which does not come, falls
behind, however alive its task is (see `engine.health`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

from headwater.errors import HeadwaterError, LogClosed

ROUND: Final = 1.0
"""The longest that a loop waits for something to do before it goes round."""
_SHORTEST: Final = 0.05
_LONGEST: Final = 2.0

Work = Callable[[], Awaitable[None]]


class Loops:
    """The loops of one part of a program. With a `random`, those that fail together do not come back together.

    An error that is `passing` says that somebody else was first: the loop goes round again soon, and nothing is told.
    """

    def __init__(
        self, logger: logging.Logger, random: Random | None = None, *, passing: type[Exception] | None = None
    ) -> None:
        self.progress: dict[str, float] = {}
        """When each loop last went round, in the event loop's time."""
        self.failing: dict[str, str] = {}
        """What each loop that did not go round the last time has failed of."""
        self.tasks: list[asyncio.Task[None]] = []
        self._logger, self._random, self._passing = logger, random, passing or ()

    def begin(self, name: str, work: Work, failing: str) -> None:
        """Do something for ever, in a task; `failing` is how a failure of it is told, before its reason."""
        self.went(name)
        self.tasks.append(asyncio.create_task(self.keep(name, work, failing), name=f"headwater-{name}"))

    def went(self, name: str) -> None:
        """A loop is getting on: it has gone round, or has done a good part of a long round."""
        self.progress[name] = asyncio.get_running_loop().time()

    async def keep(self, name: str, work: Work, failing: str) -> None:
        """Do something for ever, or until the log is closed."""
        pause = _SHORTEST
        while True:
            try:
                await work()
            except LogClosed:
                return
            except self._passing:
                await asyncio.sleep(_SHORTEST)
            except Exception as error:
                self.failing[name] = str(error) or type(error).__name__
                known = isinstance(error, HeadwaterError)
                self._logger.warning("%s: %s", failing, error, exc_info=not known)
                await asyncio.sleep(pause * (0.5 + self._random.random()) if self._random else pause)
                pause = min(pause * 2, _LONGEST)
            else:
                pause = _SHORTEST
                self.failing.pop(name, None)
                self.went(name)

    async def stop(self) -> None:
        """End them all."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()


async def told(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation on Python 3.11
            await event.wait()

"""Runs that a worker lets go of, so that others may have them: many in one request, and one request at a time.

A worker may let go of thousands at once. One request each would stand in the way of all else that it asks, its
heartbeat too, until it is taken for dead. So what is let go of while a request is under way goes with the next.

A run is let go of as it was: at its epoch, with the marks that its owner has looked at. If that is refused, something
has come for it, and its mark may have been seen: it is this worker's still, and has to be looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from headwater.engine.active import ActiveRun
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.port import Release
from headwater.runs import rows

_PAGE: Final = 100


class LettingGo:
    """Those runs, until the log has heard of it."""

    def __init__(
        self,
        log: Log,
        do: Callable[[Coroutine[Any, Any, None]], None],
        look_again: Callable[[Stream], None],
    ) -> None:
        self._log, self._do, self._look_again = log, do, look_again
        self._rows: list[Release] = []

    @property
    def busy(self) -> bool:
        return bool(self._rows)

    def add(self, active: ActiveRun) -> None:
        fence = rows.fence_key(active.run_id)
        self._rows.append(Release(active.stream.tenant, fence, active.epoch, active.wakes))
        if len(self._rows) == 1:
            self._do(self._release())

    async def _release(self) -> None:
        try:
            while batch := self._rows[:_PAGE]:
                freed = await self._log.backend.release(batch)
                del self._rows[: len(batch)]
                for row, done in zip(batch, freed, strict=True):
                    if not done:
                        self._look_again(rows.run_stream(rows.run_of_fence(row.key), row.tenant))
        finally:
            self._rows.clear()  # after a failure the worker leaves under its name, and gives back all

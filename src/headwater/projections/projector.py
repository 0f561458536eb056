"""The projector: follows the log for every projection of an app.

One task a projection. It takes the lease of the live generation, does again what was asked for, folds to the end of the
log, and waits for more. Events of others are passed without a write: the checkpoint follows when the log is quiet, and
four times a second. Another worker that holds the lease is left alone; when it is gone, its lease passes. A
projection whose `version` is newer than its live generation's is built anew beside it (see `rebuild`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from headwater.errors import CheckpointMoved, HeadwaterError
from headwater.log.log import Log
from headwater.projections.folding import BATCH, Folding
from headwater.projections.projection import Projection
from headwater.projections.rebuild import generations_of, rebuild
from headwater.projections.stores import Store
from headwater.telemetry.loops import Loops

LOGGER: Final = logging.getLogger("headwater.projections")
_ROUND: Final = 1.0
_QUIET: Final = 0.1
_FOLLOW: Final = 0.25


class Projector:
    """Background work of a worker: keeps states up to date."""

    def __init__(
        self, log: Log, projections: Sequence[Projection[Any]], *, lease: float = 10.0, batch: int = BATCH
    ) -> None:
        self._log, self._projections, self._lease, self._batch = log, projections, lease, batch
        self._holder = f"projector-{uuid4()}"
        self._loops = Loops(LOGGER, passing=CheckpointMoved)  # another has it, or it was asked to look again
        self._tasks: list[asyncio.Task[None]] = []
        self._building: dict[str, asyncio.Task[None]] = {}
        self.positions: dict[str, int] = {}
        """How far each projection is that is folded here."""

    @property
    def progress(self) -> Mapping[str, float]:
        """When each projection last went round, in the event loop's time."""
        return self._loops.progress

    @property
    def failing(self) -> Mapping[str, str]:
        """Why those that did not go round the last time have not."""
        return self._loops.failing

    async def start(self) -> None:
        for projection in self._projections:
            name = f"projection-{projection.name}"
            self._loops.went(name)
            self._tasks.append(asyncio.create_task(self._keep(name, projection), name=f"headwater-{name}"))

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._building.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def lag(self, tail: int) -> dict[str, int]:
        """How many positions of the log each projection that is folded here has still to pass."""
        return {name: max(0, tail - position) for name, position in self.positions.items()}

    async def _keep(self, name: str, projection: Projection[Any]) -> None:
        store = projection.store(self._log)
        folding = Folding(self._log, projection, store, self._holder, lease=self._lease, batch=self._batch)
        try:
            await self._loops.keep(
                name,
                lambda: self._round(name, folding, store),
                f"Projection {projection.name} stands still",
            )
        finally:
            self.positions.pop(projection.name, None)
            with suppress(HeadwaterError):
                await folding.release()

    def _build_beside(self, projection: Projection[Any], store: Store) -> None:
        """Build states anew beside those in use, which go on meanwhile."""
        running = self._building.get(projection.name)
        if running is None or running.done():
            work = self._build(projection, store)
            self._building[projection.name] = asyncio.create_task(
                work, name=f"headwater-build-{projection.name}"
            )

    async def _build(self, projection: Projection[Any], store: Store) -> None:
        try:
            await rebuild(self._log, projection, store, lease=self._lease)
        except CheckpointMoved:
            pass  # it was asked for anew
        except HeadwaterError as error:
            LOGGER.warning("Rebuilding projection %s goes on later: %s", projection.name, error)

    async def _round(self, name: str, folding: Folding[Any], store: Store) -> None:
        projection = folding.projection
        live, asked = await generations_of(store, projection)
        if live.version > projection.version:
            raise HeadwaterError(
                f"The states in use are of version {live.version} and this code's fold is {projection.version}. "
                "Deploy the newer code here too."
            )
        if live.version < projection.version:

            def went(done: int, goal: int) -> None:  # noqa: ARG001
                self._loops.went(name)

            await rebuild(self._log, projection, store, lease=self._lease, went=went)
            return
        if asked:
            self._build_beside(projection, store)
        at = await folding.take(live.generation)
        if at is None or at.paused:
            self.positions.pop(projection.name, None)
            await asyncio.sleep(_ROUND / 2)
            return
        await folding.again()
        clock = asyncio.get_running_loop().time
        until = clock() + min(_ROUND, self._lease / 3)
        follow = clock() + _FOLLOW
        while clock() < until:
            more = await folding.step(lazily=True)
            self.positions[projection.name] = folding.seen
            self._loops.went(name)
            quiet = not more and await self._quiet(
                folding.seen, clock() + _QUIET if folding.behind else until
            )
            if quiet or clock() >= follow:
                await folding.settle()
                follow = clock() + _FOLLOW
        await folding.settle()

    async def _quiet(self, seen: int, until: float) -> bool:
        """Whether the log does not go on until then."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._log.beyond(seen)
                return False
        return True

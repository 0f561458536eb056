"""Aggregates as the log has them: the state of one stream, now, at a version, or as recorded by a time."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.snapshots import Fold, Folded, Folder
from headwater.projections.projection import Projection

S = TypeVar("S")


class Aggregates(Generic[S]):
    """Reads states by the fold of a projection, helped by snapshots; or from whole streams, where it has no fold."""

    def __init__(self, log: Log, projection: Projection[S]) -> None:
        self._log, self._projection = log, projection
        self._folder = Folder(log)
        for model in projection.events:
            log.registry.add(model)

    async def state(
        self, stream: Stream, *, version: int | None = None, at: datetime | None = None
    ) -> Folded[S]:
        projection = self._projection
        if projection.whole is None:
            return await self._folder.state(stream, _fold_of(projection), to_version=version, until=at)
        history = [one async for one in self._log.stream(stream, to_version=version, until=at)]
        known = [one for one in history if one.type in projection.types]
        state = projection.whole(known) if known else projection.initial
        return Folded(state, history[-1].version if history else 0)


def _fold_of(projection: Projection[S]) -> Fold[S]:
    fold, types = projection.fold, projection.types

    def apply(state: S, recorded: Recorded) -> S:
        return fold(state, recorded.event) if recorded.type in types else state

    return Fold(
        f"pipeline-{projection.name}", projection.state, projection.initial, apply, projection.version
    )

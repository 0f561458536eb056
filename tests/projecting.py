"""A projector at work for the length of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from headwater.log.log import Log
from headwater.projections.projection import Projection
from headwater.projections.projector import Projector


@asynccontextmanager
async def projecting(log: Log, *projections: Projection[Any], lease: float = 2.0) -> AsyncIterator[Projector]:
    projector = Projector(log, projections, lease=lease)
    await projector.start()
    try:
        yield projector
    finally:
        await projector.stop()

"""A worker for accepted commands, and waiting until it has nothing left to do."""

from __future__ import annotations

import asyncio
from typing import Any

from headwater.log.log import Log
from headwater.pipelines import Pipeline
from headwater.pipelines.dispatch import Dispatcher, queue_of


def dispatcher(pipeline: Pipeline[Any, Any], log: Log) -> Dispatcher:
    [part] = [part for part in pipeline.parts(log) if isinstance(part, Dispatcher)]
    return part


async def settled(log: Log) -> None:
    async with asyncio.timeout(30):
        while await log.backend.ready(None, queue_of("accounts")):
            await asyncio.sleep(0.02)

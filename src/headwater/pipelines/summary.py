"""What there is to say of a pipeline: what it declares, and how far what follows it is."""

from __future__ import annotations

from typing import Any, Final

from headwater.app import Headwater
from headwater.errors import PipelineUnknown
from headwater.events.model import type_name
from headwater.log.log import Log
from headwater.pipelines.dispatch import queue_of
from headwater.pipelines.pipeline import Pipeline
from headwater.pipelines.reactors import checkpoint_of
from headwater.projections.open import store_for
from headwater.projections.summary import as_fields, summaries

COUNTED: Final = 1000
"""Commands that wait are counted up to here."""


def pipeline_of(app: Headwater, name: str) -> Pipeline[Any, Any]:
    """A pipeline of an app."""
    found: Any = app.pipelines.get(name)
    if found is None:
        raise PipelineUnknown(app.name, name, sorted(app.pipelines))
    pipeline: Pipeline[Any, Any] = found
    return pipeline


def pipeline_json(pipeline: Pipeline[Any, Any]) -> dict[str, Any]:
    """What it declares."""
    return {
        "name": pipeline.name,
        "aggregate_type": pipeline.aggregate_type,
        "events": [type_name(model) for model in pipeline.events],
        "projections": [projection.name for projection in pipeline.projections],
        "commands": [handler.name for handler in pipeline.commands],
        "reactors": [reactor.name for reactor in pipeline.reactors],
    }


async def with_progress(log: Log, pipeline: Pipeline[Any, Any]) -> dict[str, Any]:
    """The same, with how far its projections and reactors are, and how many commands wait."""
    progress: dict[str, Any] = {}
    for projection in pipeline.projections:
        for summary in await summaries(log, projection.store(log), projection.name):
            progress[projection.name] = as_fields(summary)
    reacting: dict[str, Any] = {}
    for reactor in pipeline.reactors:
        for summary in await summaries(log, store_for(log), checkpoint_of(pipeline.name, reactor.name)):
            reacting[reactor.name] = as_fields(summary)
    waiting = await log.backend.ready(None, queue_of(pipeline.name), COUNTED)
    return {**pipeline_json(pipeline), "progress": progress, "reacting": reacting, "waiting": len(waiting)}

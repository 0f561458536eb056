"""Pipelines: what makes an event-sourced domain of events, a fold and handlers; the rest is the runtime's."""

from headwater.pipelines.builder import register_pipeline
from headwater.pipelines.commands import Command, CommandHandler, Handled, handles
from headwater.pipelines.event_stream import EventStream
from headwater.pipelines.pipeline import Pipeline
from headwater.pipelines.reactors import Reaction, Reactor
from headwater.pipelines.service import PipelineService

__all__ = [
    "Command",
    "CommandHandler",
    "EventStream",
    "Handled",
    "Pipeline",
    "PipelineService",
    "Reaction",
    "Reactor",
    "handles",
    "register_pipeline",
]

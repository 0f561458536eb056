"""The one function that starts all background work."""

from headwater.app.domain import Part
from headwater.worker.collector import calm_collector
from headwater.worker.parts import Worker
from headwater.worker.start import start

__all__ = ["Part", "Worker", "calm_collector", "start"]

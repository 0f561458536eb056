"""The one function that starts all background work."""

from headwater.worker.collector import calm_collector
from headwater.worker.start import start

__all__ = ["calm_collector", "start"]

"""The one function that starts all background work."""

from headwater.worker.start import start

__all__ = ["start"]

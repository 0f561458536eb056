"""The simulator: real code in a world that fails, reproducible from a seed."""

from headwater.testing.simulation.loop import (
    Deadlock,
    NoRealWorldError,
    Process,
    RunawayError,
    SimulationError,
    SimulationLoop,
)

__all__ = [
    "Deadlock",
    "NoRealWorldError",
    "Process",
    "RunawayError",
    "SimulationError",
    "SimulationLoop",
]

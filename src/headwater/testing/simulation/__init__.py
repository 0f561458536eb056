"""The simulator: real code in a world that fails, reproducible from a seed."""

from headwater.testing.simulation.loop import (
    Deadlock,
    NoRealWorldError,
    Process,
    RunawayError,
    SimulationError,
    SimulationLoop,
)
from headwater.testing.simulation.run import Failure, SimulationFailure, simulate
from headwater.testing.simulation.sweep import Swept, sweep
from headwater.testing.simulation.workload import Node, Workload
from headwater.testing.simulation.world import Ended, Setup, World

__all__ = [
    "Deadlock",
    "Ended",
    "Failure",
    "NoRealWorldError",
    "Node",
    "Process",
    "RunawayError",
    "Setup",
    "SimulationError",
    "SimulationFailure",
    "SimulationLoop",
    "Swept",
    "Workload",
    "World",
    "simulate",
    "sweep",
]

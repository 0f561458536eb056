"""Crash points: a process dies at every one of them, and nothing is lost, doubled or torn."""

from headwater.testing.crash_points.points import Points
from headwater.testing.crash_points.stage import Stage
from headwater.testing.crash_points.sweep import CrashPointFailed, Sweep, Swept

__all__ = ["CrashPointFailed", "Points", "Stage", "Sweep", "Swept"]

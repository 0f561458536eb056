"""What may be set of a worker; the defaults are meant to stay. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    lease: float = 10.0
    """After this long without a heartbeat, others take over. Renewed at a third."""
    poll: float = 0.25
    """How often is looked for work when no hint comes."""
    runs: int = 1000
    """Runs that are in memory at once, the waiting ones included; more are claimed when there is room.

    A tenth is kept for tenants that have few of them there.
    """
    idle: float = 30.0
    """How long a waiting run stays in memory; with 0, it leaves at once."""
    threads: int = 16
    """Threads for sync steps."""
    queues: Mapping[str, int] | None = None
    """Queues whose steps are executed here, and how many at once; all that the app's steps name, if left out."""
    concurrency: int = 10
    """How many steps of a queue are executed at once, where `queues` does not say."""
    workflows: bool = True
    """Whether runs are executed here; without, only steps of `queues`."""
    grace: float = 10.0
    """How long steps that are under way may go on when the worker stops."""

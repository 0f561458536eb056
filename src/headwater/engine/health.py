"""Whether a worker is well: judged by what its loops get done, and not by a process that is there.

Every loop goes round at least once a second, or once a poll where that is longer (see `loops`). One that has not for
`SLOW` seconds more is stuck: on a database that does not answer, on an error that comes again and again, or on
something that blocks the process. So a worker that gets nothing done is unhealthy well within ten seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from headwater.engine.options import EngineOptions
from headwater.telemetry.loops import ROUND

SLOW: Final = 5.0
"""How much longer than its longest wait a round may take."""


class Health(NamedTuple):
    """A worker's state: the seconds since each loop last went round, and what those that fail have failed of."""

    ok: bool
    loops: Mapping[str, float]
    stuck: tuple[str, ...]
    failing: Mapping[str, str]


class Worked(Protocol):
    """What is judged: an engine, or a worker with all its parts."""

    @property
    def options(self) -> EngineOptions: ...
    @property
    def progress(self) -> Mapping[str, float]: ...
    @property
    def failing(self) -> Mapping[str, str]: ...


def health(worker: Worked, now: float) -> Health:
    """Judge a worker at a time of its event loop. One that has not begun, or has stopped, is not well."""
    loops = {name: max(0.0, now - went) for name, went in worker.progress.items()}
    bound = max(ROUND, worker.options.poll) + SLOW
    stuck = tuple(sorted(name for name, since in loops.items() if since > bound))
    return Health(bool(loops) and not stuck, loops, stuck, dict(worker.failing))

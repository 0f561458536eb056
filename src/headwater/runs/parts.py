"""What a run is made of, as its fold shows it: steps, hooks, waits, children, and why it is held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from headwater.runs.events import ErrorInfo
from headwater.runs.machines import HookStatus, StepStatus, WaitStatus


@dataclass(frozen=True)
class StepState:
    """A step. `error` is that of its last attempt, `retry_after` when the next one may begin."""

    call: int
    name: str
    status: StepStatus
    created_at: datetime
    queue: str | None = None
    action: str | None = None
    attempt: int = 0
    error: ErrorInfo | None = None
    first_started_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    retry_after: datetime | None = None
    output: Any = None
    worker: str | None = None


@dataclass(frozen=True)
class HookState:
    """A hook, and how many payloads it has received. In `conflict`, another run holds its token."""

    call: int
    token: str
    status: HookStatus
    name: str = ""
    received: int = 0


@dataclass(frozen=True)
class WaitState:
    """A durable timer."""

    call: int
    until: datetime
    status: WaitStatus


@dataclass(frozen=True)
class ChildState:
    """A run that this one has started, and whether its end is known here."""

    call: int
    run: str
    workflow: str
    finished: bool = False


@dataclass(frozen=True)
class Hold:
    """Why a run is held."""

    reason: Literal["diverged", "quarantined", "stuck"]
    message: str

"""The state machines of run, step, hook and wait, as tables: what each event does to what it is about.

    RUN.after("pending", "run_started")  ->  "running"

A table says three things of an event in a status: it moves on (`moves`), it is a benign race and changes nothing
(`absorbed`), or it is illegal (neither). `WHILE` says besides in which statuses of the run an event may stand at all.

Absorbed are the races that nobody can rule out: a step that ends as it is cancelled, a timer that fires as it is
cancelled, a payload on its way to a hook that is disposed of. The first of the two that is in the log wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

RunStatus = Literal["pending", "running", "held", "completed", "failed", "cancelled"]
StepStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
HookStatus = Literal["open", "disposed", "conflict"]
WaitStatus = Literal["waiting", "completed", "cancelled"]

S = TypeVar("S", bound=str)

UNFINISHED: Final[frozenset[RunStatus]] = frozenset({"pending", "running", "held"})
FINISHED: Final[frozenset[RunStatus]] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Machine(Generic[S]):
    """What events do to one kind of thing. A status of None: it is not there yet."""

    name: str
    moves: Mapping[tuple[S | None, str], S]
    absorbed: frozenset[tuple[S, str]] = frozenset()

    def after(self, status: S | None, event: str) -> S | None:
        """The status after an event; the same when it is absorbed, and None when it is illegal."""
        return self.moves.get((status, event)) or (status if (status, event) in self.absorbed else None)


RUN: Final = Machine[RunStatus](
    "run",
    {
        (None, "run_created"): "pending",
        ("pending", "run_started"): "running",
        ("running", "run_started"): "running",
        ("running", "run_continued"): "running",
        ("pending", "cancel_requested"): "pending",
        ("running", "cancel_requested"): "running",
        ("held", "cancel_requested"): "held",
        ("pending", "run_held"): "held",
        ("running", "run_held"): "held",
        ("held", "run_released"): "running",
        ("running", "run_completed"): "completed",
        ("running", "run_failed"): "failed",
        ("pending", "run_cancelled"): "cancelled",
        ("running", "run_cancelled"): "cancelled",
        ("held", "run_cancelled"): "cancelled",
    },
)

# A step may end without having started: an action's stored result, a step that nobody can run.
STEP: Final = Machine[StepStatus](
    "step",
    {
        (None, "step_created"): "pending",
        ("pending", "step_started"): "running",
        ("running", "step_started"): "running",
        ("running", "step_retrying"): "pending",
        ("pending", "step_completed"): "completed",
        ("running", "step_completed"): "completed",
        ("pending", "step_failed"): "failed",
        ("running", "step_failed"): "failed",
        ("pending", "step_cancelled"): "cancelled",
        ("running", "step_cancelled"): "cancelled",
    },
    frozenset(
        {
            ("completed", "step_cancelled"),
            ("failed", "step_cancelled"),
            ("cancelled", "step_started"),
            ("cancelled", "step_retrying"),
            ("cancelled", "step_completed"),
            ("cancelled", "step_failed"),
        }
    ),
)

HOOK: Final = Machine[HookStatus](
    "hook",
    {
        (None, "hook_created"): "open",
        (None, "hook_conflict"): "conflict",
        ("open", "hook_received"): "open",
        ("open", "hook_disposed"): "disposed",
    },
    frozenset({("disposed", "hook_received")}),
)

WAIT: Final = Machine[WaitStatus](
    "wait",
    {
        (None, "wait_created"): "waiting",
        ("waiting", "wait_completed"): "completed",
        ("waiting", "wait_cancelled"): "cancelled",
    },
    frozenset({("completed", "wait_cancelled"), ("cancelled", "wait_completed")}),
)

MACHINES: Final[
    tuple[Machine[RunStatus] | Machine[StepStatus] | Machine[HookStatus] | Machine[WaitStatus], ...]
] = (
    RUN,
    STEP,
    HOOK,
    WAIT,
)

_RUNNING: Final[frozenset[RunStatus]] = frozenset({"running"})
_EVER: Final[frozenset[RunStatus]] = frozenset({"running", "held", *FINISHED})

# What may be on its way, from outside, when the run is held, ends, or begins a new generation.
LATE: Final = frozenset(
    {
        "step_started",
        "step_retrying",
        "step_completed",
        "step_failed",
        "hook_received",
        "wait_completed",
        "child_finished",
    }
)

# In which statuses of its run an event that is not the run's own may stand.
WHILE: Final[Mapping[str, frozenset[RunStatus]]] = {
    # the owner's
    "run_state_changed": _RUNNING,
    "step_created": _RUNNING,
    "step_cancelled": _RUNNING,
    "hook_created": _RUNNING,
    "hook_conflict": _RUNNING,
    "hook_disposed": _RUNNING,
    "wait_created": _RUNNING,
    "wait_cancelled": _RUNNING,
    "update_answered": _RUNNING,
    "attributes_set": _RUNNING,
    "child_started": _RUNNING,
    "patch_marked": _RUNNING,
    "event_emitted": _RUNNING,
    # from outside, guarded while the run has not ended
    "run_forked": UNFINISHED,
    "schedule_fired": UNFINISHED,
    "update_requested": UNFINISHED,
    **dict.fromkeys(LATE, _EVER),
}

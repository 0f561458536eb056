"""The events of a run: what its stream holds, whoever wrote it.

A *call* is what a workflow asks of the engine, numbered in the order in which it asked: a step, a wait, a hook, a
child, a mark. The number joins the events of one call. Payloads (`input`, `output`, `payload`) are plain JSON, made
from the user's types by their annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from headwater.events.model import Event
from headwater.events.registry import Registry


class Declares(Protocol):
    """An app, as far as the events are concerned that it declares."""

    @property
    def events(self) -> Sequence[type[Event]]: ...


class ErrorInfo(BaseModel):
    """An error as it is stored: where its class is, what it says, and what caused it."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    module: str = ""
    code: str | None = None
    args: list[Any] | None = None
    stack: str = ""
    cause: ErrorInfo | None = None


class _RunEvent(Event):
    brief: ClassVar[bool] = True


class RunCreated(_RunEvent):
    type: Literal["run_created"] = "run_created"
    workflow: str
    workflow_version: int = 1
    input: Any = None
    parent: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)


class RunStarted(_RunEvent):
    """`at` is the time that the code was started at; it may run ahead of this event's record, and of nothing else."""

    type: Literal["run_started"] = "run_started"
    worker: str
    at: AwareDatetime | None = None


class RunStateChanged(_RunEvent):
    """A named value of the run's own, visible from outside; `state` is the name of what a person would call it."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    type: Literal["run_state_changed"] = "run_state_changed"
    call: int
    name: str
    from_: Any = Field(default=None, alias="from")
    to: Any = None
    actor: str | None = None


class RunHeld(_RunEvent):
    type: Literal["run_held"] = "run_held"
    reason: Literal["diverged", "quarantined", "stuck"]
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class RunReleased(_RunEvent):
    type: Literal["run_released"] = "run_released"
    actor: str | None = None


class CancelRequested(_RunEvent):
    type: Literal["cancel_requested"] = "cancel_requested"
    reason: str | None = None
    actor: str | None = None


class RunContinued(_RunEvent):
    type: Literal["run_continued"] = "run_continued"
    generation: int
    input: Any = None
    workflow_version: int = 1


class RunForked(_RunEvent):
    type: Literal["run_forked"] = "run_forked"
    source: str
    version: int


class RunCompleted(_RunEvent):
    type: Literal["run_completed"] = "run_completed"
    output: Any = None


class RunFailed(_RunEvent):
    type: Literal["run_failed"] = "run_failed"
    error: ErrorInfo


class RunCancelled(_RunEvent):
    type: Literal["run_cancelled"] = "run_cancelled"
    reason: str | None = None


class StepCreated(_RunEvent):
    """`queue`: where it waits to be executed, else the owner executes it. `action`: the key of an action."""

    type: Literal["step_created"] = "step_created"
    call: int
    name: str
    input: Any = None
    queue: str | None = None
    action: str | None = None


class StepStarted(_RunEvent):
    type: Literal["step_started"] = "step_started"
    call: int
    attempt: int
    worker: str


class StepRetrying(_RunEvent):
    type: Literal["step_retrying"] = "step_retrying"
    call: int
    attempt: int
    error: ErrorInfo
    retry_after: AwareDatetime


class StepCompleted(_RunEvent):
    type: Literal["step_completed"] = "step_completed"
    call: int
    attempt: int
    output: Any = None


class StepFailed(_RunEvent):
    type: Literal["step_failed"] = "step_failed"
    call: int
    attempt: int
    error: ErrorInfo


class StepCancelled(_RunEvent):
    type: Literal["step_cancelled"] = "step_cancelled"
    call: int


class HookCreated(_RunEvent):
    type: Literal["hook_created"] = "hook_created"
    call: int
    token: str
    name: str = ""


class HookReceived(_RunEvent):
    type: Literal["hook_received"] = "hook_received"
    call: int
    payload: Any = None
    actor: str | None = None


class HookDisposed(_RunEvent):
    type: Literal["hook_disposed"] = "hook_disposed"
    call: int


class HookConflict(_RunEvent):
    type: Literal["hook_conflict"] = "hook_conflict"
    call: int
    token: str
    holder: str


class WaitCreated(_RunEvent):
    type: Literal["wait_created"] = "wait_created"
    call: int
    until: AwareDatetime


class WaitCompleted(_RunEvent):
    type: Literal["wait_completed"] = "wait_completed"
    call: int


class WaitCancelled(_RunEvent):
    type: Literal["wait_cancelled"] = "wait_cancelled"
    call: int


class UpdateRequested(_RunEvent):
    type: Literal["update_requested"] = "update_requested"
    update: str
    name: str
    input: Any = None
    actor: str | None = None


class UpdateAnswered(_RunEvent):
    type: Literal["update_answered"] = "update_answered"
    call: int
    update: str
    output: Any = None
    error: ErrorInfo | None = None


class AttributesSet(_RunEvent):
    type: Literal["attributes_set"] = "attributes_set"
    call: int
    attributes: dict[str, str]


class ChildStarted(_RunEvent):
    type: Literal["child_started"] = "child_started"
    call: int
    run: str
    workflow: str


class ChildFinished(_RunEvent):
    type: Literal["child_finished"] = "child_finished"
    call: int
    run: str
    output: Any = None
    error: ErrorInfo | None = None
    cancelled: bool = False


class PatchMarked(_RunEvent):
    type: Literal["patch_marked"] = "patch_marked"
    call: int
    name: str


class ScheduleFired(_RunEvent):
    type: Literal["schedule_fired"] = "schedule_fired"
    schedule: str
    nominal: AwareDatetime


class EventEmitted(_RunEvent):
    """A domain event of the workflow; with `stream`, it stands in that stream as well."""

    type: Literal["event_emitted"] = "event_emitted"
    call: int
    name: str
    data: Any = None
    stream: str | None = None


class ActionCompleted(_RunEvent):
    """What an action gave for its key: the first and only event of the action's own stream."""

    type: Literal["action_completed"] = "action_completed"
    name: str
    run: str
    call: int
    output: Any = None


RunEvent = (
    RunCreated
    | RunStarted
    | RunStateChanged
    | RunHeld
    | RunReleased
    | CancelRequested
    | RunContinued
    | RunForked
    | RunCompleted
    | RunFailed
    | RunCancelled
    | StepCreated
    | StepStarted
    | StepRetrying
    | StepCompleted
    | StepFailed
    | StepCancelled
    | HookCreated
    | HookReceived
    | HookDisposed
    | HookConflict
    | WaitCreated
    | WaitCompleted
    | WaitCancelled
    | UpdateRequested
    | UpdateAnswered
    | AttributesSet
    | ChildStarted
    | ChildFinished
    | PatchMarked
    | ScheduleFired
    | EventEmitted
)


def registry_of(app: Declares) -> Registry:
    """The events of runs, and those of an app."""
    return register_run_events(Registry(*app.events))


def register_run_events(registry: Registry) -> Registry:
    """Make the events of runs known to a registry."""
    for model in (*RunEvent.__args__, ActionCompleted):
        registry.add(model)
    return registry

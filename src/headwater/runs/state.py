"""What a run is at a version of its stream: the fold of its events.

Promise. `advance` is pure and total over `RunEvent`: it gives the state after an event that the tables of `machines`
allow, absorbs the races that they name, and raises `IllegalEvent` for everything else. So the owner may judge what it
is about to append, and a reader finds a defect where it is. Legacy histories were written under other rules, and are
not judged: what does not fit is passed over.

The end of a run disposes of its hooks, cancels its waits, and cancels the steps that have not started. A step that is
running then may still record how it ended; it is not tried again.

`run_continued` begins a generation with no calls. What was on its way to a call of an earlier generation is absorbed,
which needs call numbers to go on counting through all generations.

Why it is quick. An event copies the fields of a run and of one call (64 entries of `Calls` besides), never the history;
only an end looks at all calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar, assert_never

from headwater.errors import IllegalEvent
from headwater.events.envelope import SPEC_VERSION_CURRENT, Recorded
from headwater.log.snapshots import Fold
from headwater.runs.calls import Calls
from headwater.runs.events import (
    AttributesSet,
    CancelRequested,
    ChildFinished,
    ChildStarted,
    ErrorInfo,
    EventEmitted,
    HookConflict,
    HookCreated,
    HookDisposed,
    HookReceived,
    PatchMarked,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunCreated,
    RunEvent,
    RunFailed,
    RunForked,
    RunHeld,
    RunReleased,
    RunStarted,
    RunStateChanged,
    ScheduleFired,
    StepCancelled,
    StepCompleted,
    StepCreated,
    StepFailed,
    StepRetrying,
    StepStarted,
    UpdateAnswered,
    UpdateRequested,
    WaitCancelled,
    WaitCompleted,
    WaitCreated,
)
from headwater.runs.machines import (
    FINISHED,
    HOOK,
    LATE,
    RUN,
    STEP,
    WAIT,
    WHILE,
    Machine,
    RunStatus,
)
from headwater.runs.parts import ChildState, Hold, HookState, StepState, WaitState
from headwater.runs.protocol import is_legacy, run_event

T = TypeVar("T")
S = TypeVar("S", bound=str)


@dataclass(frozen=True)
class RunState:
    """A run. At version 0 it is not there yet. `data` is what it has shown of itself, `state` among it."""

    run: str = ""
    tenant: str = ""
    version: int = 0
    spec_version: int = SPEC_VERSION_CURRENT
    workflow: str = ""
    workflow_version: int = 1
    status: RunStatus = "pending"
    generation: int = 1
    input: Any = None
    output: Any = None
    error: ErrorInfo | None = None
    parent: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cancel_requested: bool = False
    held: Hold | None = None
    worker: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    steps: Calls[StepState] = field(default_factory=Calls[StepState])
    hooks: Calls[HookState] = field(default_factory=Calls[HookState])
    waits: Calls[WaitState] = field(default_factory=Calls[WaitState])
    children: Calls[ChildState] = field(default_factory=Calls[ChildState])

    @property
    def state(self) -> Any:
        """What a person would call the run's state: what the workflow itself said last."""
        return self.data.get("state")

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def open_tokens(self) -> dict[int, str]:
        """The calls of open hooks, and their tokens."""
        return {call: hook.token for call, hook in self.hooks.items() if hook.status == "open"}

    @property
    def open_waits(self) -> list[int]:
        """The calls of waits that are not over."""
        return [call for call, wait in self.waits.items() if wait.status == "waiting"]

    @property
    def open_children(self) -> list[str]:
        """The runs of children whose end is not known here."""
        return [child.run for child in self.children.values() if not child.finished]

    @property
    def queued_steps(self) -> dict[int, str]:
        """The calls of steps that are in a queue, or were taken from it, and have not ended; and their queues."""
        steps = self.steps.items()
        return {
            call: step.queue for call, step in steps if step.queue and step.status in {"pending", "running"}
        }


def apply(state: RunState, recorded: Recorded) -> RunState:
    """The state after a recorded event."""
    event = run_event(recorded)
    if state.version == 0:
        stream = recorded.stream
        spec_version = recorded.spec_version or 1
        state = _with(state, run=stream.id, tenant=stream.tenant, spec_version=spec_version)
    return advance(state, event, recorded.recorded_at, recorded.version)


def advance(state: RunState, event: RunEvent, at: datetime, version: int | None = None) -> RunState:
    """The state after an event, recorded or about to be."""
    version = state.version + 1 if version is None else version
    legacy = is_legacy(state.spec_version)
    try:
        after = _advance(state, event, at, version)
    except IllegalEvent:
        if not legacy:
            raise
        after = state
    if after is state:
        return _with(state, version=version)
    after.__dict__["version"] = version  # it was made here, and nobody has seen it
    return after


RUN_FOLD: Final = Fold("run", RunState, RunState(), apply)


def _advance(  # noqa: PLR0911, PLR0912 - one for each kind
    state: RunState, event: RunEvent, at: datetime, version: int
) -> RunState:
    status: RunStatus | None = state.status if state.version else None
    allowed = WHILE.get(event.type)
    to = status if allowed is not None and status in allowed else RUN.after(status, event.type)
    if to is None:
        raise IllegalEvent(state.run, version, event.type, "the run", status)
    match event:
        case StepCreated():
            first = _made(state, STEP, event, version)
            step = StepState(event.call, event.name, first, at, event.queue, event.action)
            return _with(state, steps=state.steps.put(event.call, step))
        case StepStarted() | StepCompleted() | StepFailed() | StepRetrying() | StepCancelled():
            return _step(state, event, at, version)
        case HookCreated():
            hook = HookState(event.call, event.token, _made(state, HOOK, event, version), event.name)
            return _with(state, hooks=state.hooks.put(event.call, hook))
        case HookConflict():
            hook = HookState(event.call, event.token, _made(state, HOOK, event, version))
            return _with(state, hooks=state.hooks.put(event.call, hook))
        case HookReceived() | HookDisposed():
            return _hook(state, event, version)
        case WaitCreated():
            wait = WaitState(event.call, event.until, _made(state, WAIT, event, version))
            return _with(state, waits=state.waits.put(event.call, wait))
        case WaitCompleted() | WaitCancelled():
            return _wait(state, event, version)
        case RunCreated():
            return _with(
                state,
                status=to,
                workflow=event.workflow,
                workflow_version=event.workflow_version,
                input=event.input,
                parent=event.parent,
                attributes=event.attributes,
                created_at=at,
            )
        case RunStarted():
            if status == to:
                return state
            return _with(state, status=to, worker=event.worker, started_at=at)
        case RunStateChanged():
            return _with(state, data={**state.data, event.name: event.to})
        case RunHeld():
            return _with(state, status=to, held=Hold(event.reason, event.message))
        case RunReleased():
            return _with(state, status=to, held=None)
        case CancelRequested():
            return _with(state, cancel_requested=True)
        case RunContinued():
            return _with(
                state,
                generation=event.generation,
                input=event.input,
                workflow_version=event.workflow_version,
                steps=Calls[StepState](),
                hooks=Calls[HookState](),
                waits=Calls[WaitState](),
                children=Calls[ChildState](),
            )
        case RunCompleted():
            return _ended(_with(state, status=to, output=event.output), at)
        case RunFailed():
            return _ended(_with(state, status=to, error=event.error), at)
        case RunCancelled():
            return _ended(_with(state, status=to, held=None), at)
        case ChildStarted():
            begun = ChildState(event.call, event.run, event.workflow)
            return _with(state, children=state.children.put(event.call, begun))
        case ChildFinished():
            over = ChildState(event.call, event.run, _workflow_of(state, event.call), finished=True)
            return _with(state, children=state.children.put(event.call, over))
        case AttributesSet():
            return _with(state, attributes={**state.attributes, **event.attributes})
        case (
            RunForked()
            | UpdateRequested()
            | UpdateAnswered()
            | PatchMarked()
            | ScheduleFired()
            | EventEmitted()
        ):
            return state
        case _:
            assert_never(event)


def _step(
    state: RunState,
    event: StepStarted | StepRetrying | StepCompleted | StepFailed | StepCancelled,
    at: datetime,
    version: int,
) -> RunState:
    step: StepState | None = state.steps.get(event.call)
    to = _moved(state, STEP, step.status if step else None, event, version)
    if step is None or to is None:
        return state
    match event:
        case StepStarted():
            step = _with(
                step,
                status=to,
                attempt=event.attempt,
                worker=event.worker,
                first_started_at=step.first_started_at or at,
                started_at=at,
                retry_after=None,
            )
        case StepCompleted():
            step = _with(step, status=to, attempt=event.attempt, error=None, output=event.output, ended_at=at)
        case StepFailed():
            step = _with(step, status=to, attempt=event.attempt, error=event.error, ended_at=at)
        case StepRetrying() if state.finished:
            step = _with(step, status="cancelled", attempt=event.attempt, error=event.error, ended_at=at)
        case StepRetrying():
            step = _with(
                step, status=to, attempt=event.attempt, error=event.error, retry_after=event.retry_after
            )
        case StepCancelled():
            step = _with(step, status=to, retry_after=None, ended_at=at)
        case _:
            assert_never(event)
    return _with(state, steps=state.steps.put(event.call, step))


def _hook(state: RunState, event: HookReceived | HookDisposed, version: int) -> RunState:
    hook: HookState | None = state.hooks.get(event.call)
    to = _moved(state, HOOK, hook.status if hook else None, event, version)
    if hook is None or to is None:
        return state
    received = hook.received + isinstance(event, HookReceived)
    return _with(state, hooks=state.hooks.put(event.call, _with(hook, status=to, received=received)))


def _wait(state: RunState, event: WaitCompleted | WaitCancelled, version: int) -> RunState:
    wait: WaitState | None = state.waits.get(event.call)
    to = _moved(state, WAIT, wait.status if wait else None, event, version)
    if wait is None or to is None:
        return state
    return _with(state, waits=state.waits.put(event.call, _with(wait, status=to)))


def _workflow_of(state: RunState, call: int) -> str:
    child: ChildState | None = state.children.get(call)
    return child.workflow if child else ""


def _made(
    state: RunState,
    machine: Machine[S],
    event: StepCreated | HookCreated | HookConflict | WaitCreated,
    version: int,
) -> S:
    """The first status of what an event makes; its call must be new."""
    there = state.steps.get(event.call) or state.hooks.get(event.call) or state.waits.get(event.call)
    if there is not None:
        raise IllegalEvent(state.run, version, event.type, f"call {event.call}", there.status)
    return machine.moves[None, event.type]


def _moved(
    state: RunState,
    machine: Machine[S],
    status: S | None,
    event: StepStarted
    | StepRetrying
    | StepCompleted
    | StepFailed
    | StepCancelled
    | HookReceived
    | HookDisposed
    | WaitCompleted
    | WaitCancelled,
    version: int,
) -> S | None:
    """The status of a step, hook or wait after an event; None when the event is absorbed."""
    if status is None:
        if state.generation > 1 and event.type in LATE:
            return None
    elif (status, event.type) in machine.absorbed:
        return None
    to = machine.after(status, event.type)
    if to is None:
        raise IllegalEvent(state.run, version, event.type, f"{machine.name} {event.call}", status)
    return to


def _ended(state: RunState, at: datetime) -> RunState:
    """What the end of a run does to its hooks, waits and steps."""
    hooks = {c: _with(h, status="disposed") if h.status == "open" else h for c, h in state.hooks.items()}
    waits = {c: _with(w, status="cancelled") if w.status == "waiting" else w for c, w in state.waits.items()}
    steps = {
        c: _with(s, status="cancelled", ended_at=at, retry_after=None) if s.status == "pending" else s
        for c, s in state.steps.items()
    }
    return _with(state, ended_at=at, hooks=Calls(hooks), waits=Calls(waits), steps=Calls(steps))


def _with(value: T, **changes: Any) -> T:
    """A frozen dataclass with some fields changed: `replace` without running `__init__`, a tenth of its cost."""
    changed = object.__new__(type(value))
    changed.__dict__.update(value.__dict__)
    changed.__dict__.update(changes)
    return changed

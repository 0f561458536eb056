"""Random histories: legal by a model of plain dicts that knows nothing of the tables, and one event too many."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

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
    RunCreated,
    RunEvent,
    RunFailed,
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

T0 = datetime(2030, 1, 1, tzinfo=UTC)
BAD = ErrorInfo(type="ValueError", message="bad")


@dataclass
class Model:
    """What may come next, told apart by hand."""

    status: str | None = None
    calls: int = 0
    steps: dict[int, str] = field(default_factory=dict)
    hooks: dict[int, str] = field(default_factory=dict)
    waits: dict[int, str] = field(default_factory=dict)

    def every(self) -> list[tuple[RunEvent, bool]]:
        """One event of each kind for each call there is, and one that is not; with whether it is legal now."""
        running, ended = self.status == "running", self.status in {"completed", "failed", "cancelled"}
        open_, begun = self.status in {"pending", "running", "held"}, self.status not in {None, "pending"}
        new = self.calls + 1
        events: list[tuple[RunEvent, bool]] = [
            (RunCreated(workflow="w", input=None), self.status is None),
            (RunStarted(worker="a"), self.status in {"pending", "running"}),
            (RunStateChanged(call=new, name="state", to=new), running),
            (RunHeld(reason="diverged", message="m"), self.status in {"pending", "running"}),
            (RunReleased(), self.status == "held"),
            (CancelRequested(), open_),
            (RunCompleted(output=1), running),
            (RunFailed(error=BAD), running),
            (RunCancelled(), open_),
            (StepCreated(call=new, name="s", input=None, queue="q" if new % 2 else None), running),
            (HookCreated(call=new, token=f"t{new}"), running),
            (HookConflict(call=new, token=f"t{new}", holder="x"), running),
            (WaitCreated(call=new, until=T0), running),
            (UpdateRequested(update="u", name="n", input=None), open_),
            (UpdateAnswered(call=new, update="u"), running),
            (AttributesSet(call=new, attributes={"a": str(new)}), running),
            (ChildStarted(call=new, run="child", workflow="w"), running),
            (ChildFinished(call=new, run="child"), begun),
            (PatchMarked(call=new, name="p"), running),
            (ScheduleFired(schedule="s", nominal=T0), open_),
            (EventEmitted(call=new, name="e", data=None), running),
        ]
        for call, is_ in [*self.steps.items(), (new, None)]:
            alive = is_ in {"pending", "running"}
            events += [
                (StepStarted(call=call, attempt=1, worker="a"), begun and (alive or is_ == "cancelled")),
                (
                    StepRetrying(call=call, attempt=1, error=BAD, retry_after=T0),
                    begun and is_ in {"running", "cancelled"},
                ),
                (StepCompleted(call=call, attempt=1, output=2), begun and (alive or is_ == "cancelled")),
                (StepFailed(call=call, attempt=1, error=BAD), begun and (alive or is_ == "cancelled")),
                (StepCancelled(call=call), running and is_ in {"pending", "running", "completed", "failed"}),
            ]
        for call, is_ in [*self.hooks.items(), (new, None)]:
            events += [
                (HookReceived(call=call, payload=1), begun and is_ in {"open", "disposed"}),
                (HookDisposed(call=call), running and is_ == "open"),
            ]
        for call, is_ in [*self.waits.items(), (new, None)]:
            events += [
                (WaitCompleted(call=call), begun and is_ in {"waiting", "cancelled"}),
                (WaitCancelled(call=call), running and is_ in {"waiting", "completed"}),
            ]
        events += [
            (StepCreated(call=call, name="s", input=None), False)
            for call in [*self.steps, *self.hooks, *self.waits]
        ]
        assert not ended or not any(ok for event, ok in events if event.type.startswith("run_"))
        return events

    def follow(self, event: RunEvent) -> None:  # noqa: PLR0912 - one for each kind
        call = getattr(event, "call", 0)
        self.calls = max(self.calls, call)
        match event:
            case RunCreated():
                self.status = "pending"
            case RunStarted() | RunReleased():
                self.status = "running"
            case RunHeld():
                self.status = "held"
            case RunCompleted() | RunFailed() | RunCancelled():
                self.status = event.type.removeprefix("run_")
                self.steps = {c: "cancelled" if s == "pending" else s for c, s in self.steps.items()}
                self.hooks = {c: "disposed" if s == "open" else s for c, s in self.hooks.items()}
                self.waits = {c: "cancelled" if s == "waiting" else s for c, s in self.waits.items()}
            case StepCreated():
                self.steps[call] = "pending"
            case StepStarted() if self.steps[call] == "pending":
                self.steps[call] = "running"
            case StepRetrying() if self.steps[call] == "running":
                self.steps[call] = "pending" if self.status in {"running", "held"} else "cancelled"
            case StepCompleted() | StepFailed() | StepCancelled() if self.steps[call] in {
                "pending",
                "running",
            }:
                self.steps[call] = event.type.removeprefix("step_")
            case HookCreated():
                self.hooks[call] = "open"
            case HookConflict():
                self.hooks[call] = "conflict"
            case HookDisposed():
                self.hooks[call] = "disposed"
            case WaitCreated():
                self.waits[call] = "waiting"
            case WaitCompleted() | WaitCancelled() if self.waits[call] == "waiting":
                self.waits[call] = event.type.removeprefix("wait_")
            case _:
                pass


def history(random: Random, length: int) -> tuple[list[RunEvent], Model]:
    """A legal history; the run's end comes late in most."""
    model = Model()
    events: list[RunEvent] = []
    while len(events) < length:
        legal = [event for event, ok in model.every() if ok]
        if not legal:
            break
        rare = {"run_completed", "run_failed", "run_cancelled", "run_held"}
        likely = [event for event in legal if event.type not in rare]
        event = random.choice(likely if likely and random.random() < 0.95 else legal)
        model.follow(event)
        events.append(event)
    return events, model


def at(version: int) -> datetime:
    return T0 + timedelta(seconds=version)

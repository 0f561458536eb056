"""What a run's calls did, and when: the fold of its history that a picture is drawn from.

A line is a call (a step, a wait, a hook, a child) or something that happened to the run (its state, a hold, a request
to end), in the order of the history. Times are recorded times: what is quick is recorded together, and then shows no
length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from headwater.events.clock import from_us
from headwater.runs import events as run
from headwater.runs.history_file import Fact

Kind = Literal["step", "wait", "hook", "child", "mark"]


@dataclass(slots=True)
class Attempt:
    """One try of a step. It is `cut off` when its worker was gone before it had ended."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Literal["running", "completed", "failed", "cancelled", "cut off"] = "running"
    error: run.ErrorInfo | None = None


@dataclass(slots=True)
class Moment:
    """Something that happened at once: a payload that came, a state that was set."""

    at: datetime
    text: str
    data: Any = None


@dataclass(slots=True)
class Line:
    """One line of the picture."""

    kind: Kind
    name: str
    began_at: datetime
    call: int | None = None
    status: str = "open"
    ended_at: datetime | None = None
    queue: str | None = None
    until: datetime | None = None
    retry_after: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    moments: list[Moment] = field(default_factory=list[Moment])

    def end(self, status: str, at: datetime) -> None:
        if self.ended_at is None:
            self.status, self.ended_at, self.retry_after = status, at, None
            for attempt in self.attempts:
                if attempt.ended_at is None:
                    attempt.ended_at, attempt.outcome = at, "cancelled"

    def attempted(
        self, at: datetime, outcome: Literal["completed", "failed"], error: run.ErrorInfo | None = None
    ) -> None:
        """The attempt that is under way has ended."""
        if self.attempts and self.attempts[-1].ended_at is None:
            last = self.attempts[-1]
            last.ended_at, last.outcome, last.error = at, outcome, error


def timeline(history: Iterable[Fact]) -> list[Line]:
    """The lines of a run, as far as this much of its history tells."""
    calls: dict[int, Line] = {}
    lines: list[Line] = []
    for fact in history:
        at = from_us(fact.recorded_us)
        made = _made(fact.event, at)
        if made is not None:
            lines.append(made)
            if made.call is not None:
                calls[made.call] = made
        else:
            call = getattr(fact.event, "call", None)
            _go_on(fact.event, at, calls.get(call) if isinstance(call, int) else None, calls)
    return lines


def _made(event: object, at: datetime) -> Line | None:  # noqa: PLR0911 - one for each kind
    """The line that an event begins."""
    match event:
        case run.StepCreated():
            return Line("step", event.name, at, event.call, "pending", queue=event.queue)
        case run.WaitCreated():
            return Line("wait", "", at, event.call, "waiting", until=event.until)
        case run.HookCreated():
            return Line("hook", event.token, at, event.call)
        case run.HookConflict():
            text = f"the token is held by run {event.holder}"
            return Line("hook", event.token, at, event.call, "conflict", at, moments=[Moment(at, text)])
        case run.ChildStarted():
            return Line("child", f"{event.workflow} {event.run}", at, event.call, "running")
        case run.RunStateChanged():
            return _mark(at, event.name, f"by {event.actor}" if event.actor else "", event.to)
        case run.EventEmitted():
            return _mark(
                at, event.name, f"emitted{f' to {event.stream}' if event.stream else ''}", event.data
            )
        case run.RunHeld():
            return _mark(at, "held", f"{event.reason}: {event.message}")
        case run.RunReleased():
            return _mark(at, "resumed", f"by {event.actor}" if event.actor else "")
        case run.CancelRequested():
            return _mark(at, "cancel asked", event.reason or "")
        case _:
            return None


def _mark(at: datetime, name: str, text: str, data: Any = None) -> Line:
    return Line("mark", name, at, None, "", at, moments=[Moment(at, text, data)])


def _go_on(event: object, at: datetime, line: Line | None, calls: dict[int, Line]) -> None:  # noqa: PLR0912
    """What an event does to a line that is there."""
    match event:
        case run.RunCompleted() | run.RunFailed() | run.RunCancelled():
            for other in calls.values():
                if other.kind != "step" or other.status == "pending":
                    other.end("disposed" if other.kind == "hook" else "cancelled", at)
        case _ if line is None:
            pass
        case run.StepStarted():
            if line.attempts and line.attempts[-1].ended_at is None:
                line.attempts[-1].ended_at, line.attempts[-1].outcome = at, "cut off"
            line.attempts.append(Attempt(event.attempt, event.worker, at))
            line.status, line.retry_after = "running", None
        case run.StepRetrying():
            line.attempted(at, "failed", event.error)
            line.status, line.retry_after = "pending", event.retry_after
        case run.StepCompleted():
            line.attempted(at, "completed")
            line.end("completed", at)
        case run.StepFailed():
            line.attempted(at, "failed", event.error)
            line.end("failed", at)
        case run.StepCancelled() | run.WaitCancelled():
            line.end("cancelled", at)
        case run.WaitCompleted():
            line.end("completed", at)
        case run.HookReceived():
            line.moments.append(Moment(at, f"by {event.actor}" if event.actor else "", event.payload))
        case run.HookDisposed():
            line.end("received" if line.moments else "disposed", at)
        case run.ChildFinished():
            line.end("cancelled" if event.cancelled else "failed" if event.error else "completed", at)
        case _:
            pass

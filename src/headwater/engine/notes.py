"""What the owner of a run remembers of its calls: as much as it needs to go on, and to end the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headwater.events.model import Event
from headwater.runs import events as run


@dataclass(slots=True)
class StepNote:
    """A step that has not ended."""

    call: int
    name: str
    input: Any
    queue: str | None
    action: str | None
    attempts: int = 0
    failures: int = 0
    retry_after: datetime | None = None
    begun: bool = False
    """Whether the last attempt began in this process."""


@dataclass(slots=True)
class Notes:
    """The calls of a run that are open, by number."""

    steps: dict[int, StepNote] = field(default_factory=dict[int, StepNote])
    waits: dict[int, datetime] = field(default_factory=dict[int, datetime])
    hooks: dict[int, str] = field(default_factory=dict[int, str])
    created: run.RunCreated | None = None
    started: bool = False
    ended: bool = False
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, event: Event) -> bool:  # noqa: PLR0911, PLR0912 - one for each kind
        """Note an event of the run. Whether it is progress: something that a run that only dies would not record."""
        match event:
            case run.StepStarted(call=call, attempt=attempt):
                if step := self.steps.get(call):
                    step.attempts, step.retry_after = attempt, None
                return False
            case run.StepCreated(call=call, name=name, input=given, queue=queue, action=action):
                self.steps.setdefault(call, StepNote(call, name, given, queue, action))
                return False
            case run.StepRetrying(call=call, attempt=attempt, retry_after=after):
                if step := self.steps.get(call):
                    step.failures += 1
                    step.attempts, step.retry_after = attempt, after
            case run.StepCompleted(call=call) | run.StepFailed(call=call) | run.StepCancelled(call=call):
                self.steps.pop(call, None)
            case run.WaitCreated(call=call, until=until):
                self.waits[call] = until
                return False
            case run.WaitCompleted(call=call) | run.WaitCancelled(call=call):
                self.waits.pop(call, None)
            case run.HookCreated(call=call, token=token):
                self.hooks[call] = token
                return False
            case run.HookDisposed(call=call) | run.HookConflict(call=call):
                self.hooks.pop(call, None)
            case run.RunCreated():
                self.created, self.attributes = event, dict(event.attributes)
                return False
            case run.RunStarted():
                self.started = True
                return False
            case run.RunHeld():
                pass
            case run.RunStateChanged(name=name, to=to):
                self.data[name] = to
            case run.AttributesSet(attributes=attributes):
                self.attributes |= attributes
            case run.RunCompleted() | run.RunFailed() | run.RunCancelled():
                self.ended = True
            case _:
                return False
        return True

"""An event of a run on one line: when, which call, what of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from headwater.cli.output import OUT, Colour, plain
from headwater.cli.run.texts import span, worker_name
from headwater.runs import events as run


class Lines:
    """Makes lines of events that come in order, so that each can name its call."""

    def __init__(self, *, data: bool) -> None:
        self._data = data
        self._names: dict[int, str] = {}
        self._began: datetime | None = None

    def line(self, version: int, event: run.RunEvent, at: datetime) -> str:
        self._began = self._began or at
        call = getattr(event, "call", None)
        what = self._what(event, call) if isinstance(call, int) else ""
        time = f"{version:>5}  {at:%H:%M:%S.%f}"[:-3] + f"  +{span(at - self._began):<8}"
        parts = [OUT.paint(f"{event.type:<17}", _colour(event)), what, _details(event)]
        text = f"{OUT.paint(time, 'dim')}  {'  '.join(part for part in parts if part)}".rstrip()
        data = _payload(event) if self._data else None
        return f"{text}\n{'':>21}{plain(json.dumps(data, ensure_ascii=False))}" if data is not None else text

    def _what(self, event: run.RunEvent, call: int) -> str:
        match event:
            case run.StepCreated(name=name) | run.RunStateChanged(name=name) | run.EventEmitted(name=name):
                self._names[call] = name
            case run.HookCreated(token=token) | run.HookConflict(token=token):
                self._names[call] = token
            case run.WaitCreated():
                self._names[call] = "wait"
            case run.ChildStarted():
                self._names[call] = f"{event.workflow} {event.run}"
            case _:
                pass
        known = self._names.get(call)
        return f"{call} {plain(known)}" if known else str(call)


def _colour(event: run.RunEvent) -> Colour:
    match event:
        case run.StepFailed() | run.RunFailed() | run.HookConflict():
            return "red"
        case run.StepRetrying() | run.RunHeld() | run.CancelRequested() | run.RunCancelled():
            return "yellow"
        case run.StepCompleted() | run.RunCompleted() | run.HookReceived() | run.WaitCompleted():
            return "green"
        case _:
            return "cyan"


def _details(event: run.RunEvent) -> str:  # noqa: PLR0911 - one for each kind
    match event:
        case run.RunCreated():
            return plain(f"{event.workflow}@{event.workflow_version}")
        case run.RunStarted():
            return f"on {worker_name(event.worker)}"
        case run.StepStarted():
            return f"attempt {event.attempt} on {worker_name(event.worker)}"
        case run.StepRetrying():
            return plain(f"attempt {event.attempt}: {event.error.type}: {event.error.message}")
        case run.StepFailed():
            return plain(f"attempt {event.attempt}: {event.error.type}: {event.error.message}")
        case run.RunFailed():
            return plain(f"{event.error.type}: {event.error.message}")
        case run.WaitCreated():
            return f"until {event.until:%Y-%m-%d %H:%M:%S} UTC"
        case run.RunHeld():
            return plain(f"{event.reason}: {event.message}")
        case run.CancelRequested() | run.RunCancelled():
            return plain(event.reason or "")
        case _:
            return ""


def _payload(event: run.RunEvent) -> Any:
    """What an event carries for or from the code."""
    for name in ("input", "output", "payload", "to", "data", "attributes"):
        value = getattr(event, name, None)
        if value is not None and value != {}:
            return value
    return None

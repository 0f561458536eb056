"""What the code of a workflow has newly asked for in a turn: to be recorded, and then done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headwater.app.steps import Step
from headwater.events.envelope import Stream
from headwater.events.model import Event


@dataclass(slots=True)
class NewStep:
    call: int
    step: Step[..., Any]
    input: Any
    action: str | None


@dataclass(slots=True)
class EndStep:
    """Nobody waits for the step any more."""

    call: int


@dataclass(slots=True)
class NewWait:
    call: int
    until_us: int


@dataclass(slots=True)
class EndWait:
    call: int


@dataclass(slots=True)
class NewHook:
    call: int
    token: str
    name: str


@dataclass(slots=True)
class EndHook:
    call: int


@dataclass(slots=True)
class Mark:
    """An event that the code wants recorded; with a stream, a domain event that stands there too."""

    call: int
    event: Event
    emitted: Event | None = None
    stream: Stream | None = None


Command = NewStep | EndStep | NewWait | EndWait | NewHook | EndHook | Mark

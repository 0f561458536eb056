"""A call of the code against the one in the history: whether they are the same, and how to say that they are not."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import FrameType
from typing import Any, Final

from headwater.events.model import Event
from headwater.runs import events as run
from headwater.workflows.calls import StepCall
from headwater.workflows.frames import frame
from headwater.workflows.loop import RunLoop

_OURS: Final = (str(Path(__file__).parents[1]), str(Path(asyncio.__file__).parent), contextlib.__file__)


def is_same(recorded: Event, kind: type[Event], name: str) -> bool:
    """Whether this is the call that the history holds."""
    match recorded:
        case run.StepCreated() | run.EventEmitted() | run.RunStateChanged():
            return type(recorded) is kind and recorded.name == name
        case run.HookCreated() | run.HookConflict():
            return kind is run.HookCreated and recorded.token == name
        case _:
            return type(recorded) is kind


def say(event: Event) -> str:
    """A recorded call, as a person would put it."""
    match event:
        case run.HookCreated(token=token) | run.HookConflict(token=token):
            return words(run.HookCreated, token)
        case run.StepCreated(name=name) | run.EventEmitted(name=name) | run.RunStateChanged(name=name):
            return words(type(event), name)
        case _:
            return words(type(event), "")


_WORDS: Final[dict[type[Event], str]] = {
    run.StepCreated: "a call of step {!r}",
    run.WaitCreated: "a wait",
    run.HookCreated: "a hook with token {!r}",
    run.EventEmitted: "the event {!r}",
    run.RunStateChanged: "a change of {!r}",
    run.AttributesSet: "a change of attributes",
}


def words(kind: type[Event], name: str) -> str:
    """An attempted call, as a person would put it."""
    return _WORDS[kind].format(name)


def line_of_code(asked: StepCall[Any] | None = None) -> str:
    """The line of the user's code that is running, else the one that made the call."""
    running: FrameType | None = frame(2)
    while running is not None and running.f_code is not RunLoop.turn.__code__:
        code = running.f_code
        if not code.co_filename.startswith(_OURS):
            return f"{code.co_filename}:{running.f_lineno} in {code.co_name}"
        running = running.f_back
    return asked.where if asked is not None else "a timer of the workflow"

"""Which run this code belongs to, if any: the loop that it runs on says so.

The code of a workflow runs on its run's own loop (see `headwater.workflows.loop`), so calling a step asks the running
loop. A step's body runs on the process's loop, and knows itself by a context variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from uuid import UUID

from headwater.app.hooks import Hook
from headwater.errors import Refused
from headwater.events.envelope import Stream
from headwater.events.model import Event

if TYPE_CHECKING:
    from headwater.app.steps import Step, StepContext

T = TypeVar("T")

STEP: ContextVar[StepContext] = ContextVar("headwater step")


class CurrentRun(Protocol):
    """What the code of a workflow can ask of its run."""

    @property
    def run_id(self) -> str: ...
    @property
    def random(self) -> Random: ...
    def now(self) -> datetime: ...
    def uuid(self) -> UUID: ...
    def step(
        self, step: Step[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], action: str | None
    ) -> Coroutine[Any, Any, T]: ...
    def hook(self, payload: type[T], token: str | None) -> Hook[T]: ...
    def set_data(self, name: str, value: Any, actor: str | None) -> None: ...
    def set_attributes(self, attributes: dict[str, str]) -> None: ...
    def emit(self, event: Event, stream: Stream | None) -> None: ...


def current_run() -> CurrentRun | None:
    """The run whose code is running, if it is a workflow's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return cast("CurrentRun | None", getattr(loop, "headwater_run", None))


def needed_run(what: str) -> CurrentRun:
    run = current_run()
    if run is None:
        raise Refused(f"{what} is for the code of a workflow; nothing of that kind is running here.")
    return run


def current_step() -> StepContext:
    """The step whose body is running: its key, its attempt, and what it can tell the engine."""
    context = STEP.get(None)
    if context is None:
        raise Refused("current_step() is for the body of a step that a run has called.")
    return context

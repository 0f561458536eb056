"""A step as it is declared: a function with effects, and how it is to be tried."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Generic, ParamSpec, TypeVar

from headwater.app.arguments import Signature
from headwater.app.current import current_run
from headwater.errors import DeclarationRefused
from headwater.events.names import check_name

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is tried. Times are seconds."""

    name: str | None = None
    retries: int = 3
    """How often it is tried again after an error."""
    backoff: float = 0.5
    """The longest pause before the first retry; it doubles, up to `max_backoff`, and is drawn by chance below that."""
    max_backoff: float = 60.0
    timeout: float | None = None
    heartbeat: float | None = None
    """The attempt fails if the body does not call `current_step().heartbeat()` that often."""
    queue: str | None = None
    """Workers that serve this queue execute it; else whoever owns the run."""
    priority: int = 0
    at_most_once: bool = False
    """Never started again if it is not known how an attempt ended. Implies no retries."""
    transaction: bool = False
    """The body's writes through `current_step().transaction` and its result are committed together."""


class Step(Generic[P, R]):
    """A declared step. Called in a workflow, it is a call of the run; elsewhere, it is just its function."""

    def __init__(self, function: Callable[P, Any], options: StepOptions) -> None:
        self.function, self.options = function, options
        self.name = check_name("step", options.name or function.__name__)
        self.is_async = inspect.iscoroutinefunction(function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DeclarationRefused(f"Step {self.name!r} is a generator; a step returns one result.")
        if options.retries < 0 or options.backoff < 0 or options.max_backoff < 0:
            raise DeclarationRefused(f"Step {self.name!r} has negative retries or backoff.")
        if options.queue is not None:
            check_name("queue", options.queue)
        self.__name__, self.__doc__ = self.name, function.__doc__

    @cached_property
    def signature(self) -> Signature:
        return Signature(self.function, f"step {self.name!r}")

    @property
    def retries(self) -> int:
        return 0 if self.options.at_most_once else self.options.retries

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        run = current_run()
        if run is not None:
            return run.step(self, args, kwargs, None)
        return self.run_here(args, kwargs)

    async def run_here(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """The function itself; a sync one runs in a thread."""
        if self.is_async:
            result: R = await self.function(*args, **kwargs)
            return result
        return await asyncio.to_thread(partial(self.function, *args, **kwargs))

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@dataclass(slots=True, kw_only=True)
class StepContext:
    """What the body of a step may know of itself."""

    run: str
    tenant: str
    step: str
    attempt: int
    key: str
    """The same on every attempt: give it to whatever the step tells to do something."""
    traceparent: str | None = None
    """The run's span, while traces are on."""
    beat: Callable[[], None] = field(default=lambda: None, repr=False)
    transaction: Any = None
    """With `transaction=True`: the transaction on the log's database (`execute`, `connection`, `append`)."""

    def heartbeat(self) -> None:
        """Say that the step is alive; see `heartbeat` among the step's options."""
        self.beat()

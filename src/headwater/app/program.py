"""The app: the declarations of a program, by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from headwater.app.current import current_run, needed_run
from headwater.app.domain import Declared, Domain, add_events, add_pipelines
from headwater.app.hooks import Hook
from headwater.app.steps import Step, StepOptions
from headwater.app.workflows import Workflow
from headwater.errors import DeclarationRefused
from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.events.names import check_name

if TYPE_CHECKING:
    from headwater.client import Client
    from headwater.client.sync import SyncClient

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E", bound=Event)


class _DeclareStep(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...


class _DeclareWorkflow(Protocol):
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...


class _Projection(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def events(self) -> tuple[type[Event], ...]: ...


J = TypeVar("J", bound=_Projection)


class Headwater:
    """A program's workflows, steps, events, projections and domains. It opens nothing until `connect` or `run`."""

    def __init__(self, name: str) -> None:
        self.name = check_name("app", name)
        self.workflows: dict[tuple[str, int], Workflow[..., Any]] = {}
        self.steps: dict[str, Step[..., Any]] = {}
        self.events: list[type[Event]] = []
        self.pipelines: dict[str, Declared] = {}
        self.domains: dict[str, Domain] = {}
        self.projections: dict[str, Any] = {}
        self.actions = Actions(self.steps)

    # Declaring

    @overload
    def workflow(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def workflow(
        self, *, name: str | None = None, version: int = 1, timeout: float | None = None
    ) -> _DeclareWorkflow: ...
    def workflow(
        self, *given: Any, name: str | None = None, version: int = 1, timeout: float | None = None
    ) -> Any:
        """Declare a workflow. `timeout` (seconds) is of the whole run, from its start."""

        def declare(function: Callable[..., Coroutine[Any, Any, Any]]) -> Workflow[..., Any]:
            workflow = Workflow(function, name=name, version=version, timeout=timeout)
            key = (workflow.name, workflow.version)
            if self.workflows.setdefault(key, workflow) is not workflow:
                raise DeclarationRefused(f"Workflow {workflow.name!r} version {version} is declared twice.")
            return workflow

        return declare(*given) if given else declare

    @overload
    def step(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def step(self, function: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def step(
        self,
        *,
        name: str | None = None,
        retries: int = 3,
        backoff: float = 0.5,
        max_backoff: float = 60.0,
        timeout: float | None = None,
        heartbeat: float | None = None,
        queue: str | None = None,
        priority: int = 0,
        at_most_once: bool = False,
        transaction: bool = False,
    ) -> _DeclareStep: ...
    def step(self, *given: Any, **options: Any) -> Any:
        """Declare a step; see `StepOptions` for how it may be tried."""

        def declare(function: Callable[..., Any]) -> Step[..., Any]:
            step: Step[..., Any] = Step(function, StepOptions(**options))
            if self.steps.setdefault(step.name, step) is not step:
                raise DeclarationRefused(f"Step {step.name!r} is declared twice. Give one of them a name=.")
            return step

        return declare(*given) if given else declare

    def event(self, model: type[E]) -> type[E]:
        """Declare a domain event, so that it can be emitted and read; usable as a decorator."""
        add_events(self.events, [model], f"App {self.name!r}")
        return model

    def include(self, domain: Domain) -> None:
        """Take in a domain: its events, pipelines, routes, commands and background work. Again is once."""
        known = self.domains.get(domain.name)
        if known is domain:
            return
        whose = f"Domain {domain.name!r}"
        if known is not None:
            raise DeclarationRefused(f"{whose} is included already, as another one. Rename one of them.")
        events, pipelines = [*self.events], {**self.pipelines}
        add_events(events, domain.all_events(), whose)
        add_pipelines(pipelines, domain.pipelines, whose)
        self.events[:] = events
        self.pipelines.update(pipelines)
        self.domains[domain.name] = domain

    def project(self, projection: J) -> J:
        """Declare a projection: the app's workers keep its states up to date."""
        if self.projections.setdefault(projection.name, projection) is not projection:
            raise DeclarationRefused(f"Projection {projection.name!r} is declared twice.")
        self.events.extend(model for model in projection.events if model not in self.events)
        return projection

    # What the code of a workflow may ask

    def hook(self, payload: type[T], *, token: str | None = None) -> Hook[T]:
        """Open a hook; without a token, an unguessable one is made, the same on each replay."""
        return needed_run("app.hook()").hook(payload, token)

    def set_state(self, state: Any, *, name: str = "state", actor: str | None = None) -> None:
        """Say where the run is, for whoever looks; other names are the run's data."""
        needed_run("app.set_state()").set_data(name, state, actor)

    def set_attributes(self, **attributes: str) -> None:
        """Say what the run can be found by. Attributes are not encrypted."""
        needed_run("app.set_attributes()").set_attributes(attributes)

    def emit(self, event: Event, *, stream: Stream | None = None) -> None:
        """Record a domain event exactly once: in the run's stream, and in `stream` if one is given."""
        needed_run("app.emit()").emit(event, stream)

    def now(self) -> datetime:
        """The time of the last event that the run was given: the same on each replay."""
        return needed_run("app.now()").now()

    def uuid(self) -> UUID:
        """A unique id that is the same on each replay."""
        return needed_run("app.uuid()").uuid()

    @property
    def random(self) -> Random:
        """Chance that is the same on each replay."""
        return needed_run("app.random").random

    @property
    def run_id(self) -> str:
        """The id of the run whose code this is."""
        return needed_run("app.run_id").run_id

    # Running

    def connect(self, url: str | None = None, *, worker: bool | None = None, **options: Any) -> Client:
        """A client, to use in `async with`; it embeds a worker on SQLite and memory unless told otherwise."""
        from headwater.client import Client

        return Client(self, url, worker=worker, **options)

    def connect_sync(
        self, url: str | None = None, *, worker: bool | None = None, **options: Any
    ) -> SyncClient:
        """The same client for programs without an event loop, to use in `with`."""
        from headwater.client.sync import SyncClient

        return SyncClient(self.connect(url, worker=worker, **options))

    def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a run, wait for it, and give its result: a script in one line."""
        from headwater.client import run_once

        return run_once(self, workflow, args, kwargs)


class Actions:
    """Steps by name: `app.actions.send_email(..., idempotency_key=k)`.

    For one tenant and key the step's effect is recorded once, across all runs: who comes later gets the stored result.
    """

    def __init__(self, steps: dict[str, Step[..., Any]]) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        step = self._steps.get(name)
        if step is None:
            known = ", ".join(sorted(self._steps)) or "none"
            raise AttributeError(f"There is no step {name!r}; declared are: {known}.")

        def act(*args: Any, idempotency_key: str | None = None, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            run = current_run()
            if run is None:
                return step.run_here(args, kwargs)
            return run.step(step, args, kwargs, idempotency_key)

        return act

"""The app: the declarations of a program, by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from headwater.app.current import current_run, needed_run
from headwater.app.domain import Declared, Domain, add_events, add_pipelines, check_projections
from headwater.app.hooks import Hook
from headwater.app.steps import Step, StepOptions
from headwater.app.workflows import Workflow
from headwater.errors import DeclarationRefused, LogClosed
from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.events.names import check_name

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from headwater.client import Client
    from headwater.client.sync import SyncClient
    from headwater.log.log import Log
    from headwater.pipelines.builder import NeedsName
    from headwater.pipelines.commands import CommandHandler
    from headwater.pipelines.event_stream import EventStream
    from headwater.pipelines.pipeline import Pipeline
    from headwater.pipelines.reactors import Reactor
    from headwater.projections.projection import Projection

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
    @property
    def inline(self) -> bool: ...


J = TypeVar("J", bound=_Projection)
L = TypeVar("L", bound=Declared)


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
        self._logs: dict[Log, int] = {}
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

    def pipeline(
        self,
        *,
        name: str,
        aggregate_type: str,
        events: Sequence[type[E]],
        state: type[T] | TypeAdapter[T],
        initial: T,
        fold: Callable[[T, Any], T] | None = None,
        from_stream: Callable[[EventStream[E]], T] | None = None,
        version: int = 1,
        inline: bool = False,
        projections: Sequence[Projection[Any]] = (),
        commands: Sequence[CommandHandler[T]] = (),
        reactors: Sequence[Reactor] = (),
        **more: Any,
    ) -> Pipeline[E, T]:
        """Declare a domain's pipeline: its events, the state that they make, and what is done with them."""
        from headwater.pipelines.pipeline import Pipeline

        made = Pipeline[E, T](
            name=name,
            aggregate_type=aggregate_type,
            events=events,
            state=state,
            initial=initial,
            fold=fold,
            from_stream=from_stream,
            version=version,
            inline=inline,
            projections=projections,
            commands=commands,
            reactors=reactors,
            **more,
        )
        return self.add_pipeline(made)

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
        check_projections(self.projections, domain.pipelines, whose)
        self.events[:] = events
        self.domains[domain.name] = domain
        for pipeline in domain.pipelines:
            self._take_in(pipeline)

    @property
    def log(self) -> Log:
        """The log that this process has open for the app: that of a client, a worker or a server."""
        logs = list(self._logs)
        if len(logs) == 1:
            return logs[0]
        if not logs:
            raise LogClosed(
                f"App {self.name!r} has no log open here. Use it inside `async with app.connect()`."
            )
        raise LogClosed(f"App {self.name!r} has {len(logs)} logs open here. Say which: `pipeline.on(log)`.")

    @contextmanager
    def using(self, log: Log) -> Generator[None]:
        """While this goes on, the log is the app's."""
        self._logs[log] = self._logs.get(log, 0) + 1
        try:
            yield
        finally:
            self._logs[log] -= 1
            if not self._logs[log]:
                del self._logs[log]

    def register_pipeline(self, events: Any, state: type[T], initial: T | None = None) -> NeedsName[Any, T]:
        """The same step by step: each stage says what comes next (see `pipelines.builder`)."""
        from headwater.pipelines.builder import begin

        return begin(events, state, initial, registered=self.add_pipeline)

    def add_pipeline(self, pipeline: L) -> L:
        """Declare a pipeline that was made elsewhere: its events and projections are the app's."""
        whose = f"App {self.name!r}"
        events, pipelines = [*self.events], {**self.pipelines}
        add_events(events, pipeline.events, whose)
        add_pipelines(pipelines, [pipeline], whose)
        check_projections(self.projections, [pipeline], whose)
        self.events[:] = events
        self._take_in(pipeline)
        return pipeline

    def _take_in(self, pipeline: Declared) -> None:
        self.pipelines[pipeline.name] = pipeline
        pipeline.log_of = lambda: self.log
        for projection in pipeline.projections:
            self._keep(projection)

    def project(self, projection: J) -> J:
        """Declare a projection: the app's workers keep its states up to date."""
        if projection.inline:
            raise DeclarationRefused(
                f"Projection {projection.name!r} is inline: it belongs to the pipeline that stores its events. Name it "
                "in that pipeline's projections=(...)."
            )
        return self._keep(projection)

    def _keep(self, projection: J) -> J:
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

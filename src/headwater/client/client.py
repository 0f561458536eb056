"""The client: what a program holds to start runs and to talk to them.

async with app.connect() as hw:
    run = await hw.start(fulfil, order, id=f"order-{order.id}")
    await hw.send(f"approve:{order.id}", Approval(by="Ann"))
    receipt = await run.result()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypedDict, TypeVar, Unpack, overload

from pydantic import TypeAdapter

from headwater.app import Headwater, Workflow
from headwater.app.workflows import Bound
from headwater.client.handle import RunEnd, RunHandle
from headwater.client.waiting import Waiting
from headwater.errors import DeclarationRefused, LogClosed
from headwater.events.envelope import Recorded
from headwater.events.ids import TimeOrderedIds
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.log.open import open_log
from headwater.runs.creation import NewRun
from headwater.runs.entry import RunSummary
from headwater.runs.events import register_run_events
from headwater.runs.machines import RunStatus
from headwater.runs.rows import DEFAULT_TENANT, label_of, run_stream
from headwater.runs.state import RunState
from headwater.runs.store import Runs

if TYPE_CHECKING:
    from headwater.engine.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
Made = Coroutine[Any, Any, R]


class Start(Protocol):
    """How an embedded worker is started."""

    async def __call__(
        self, app: Headwater, log: Log, options: Any = None, /, *, ended: Callable[[str, str, Event], None]
    ) -> Embedded: ...


class Embedded(Protocol):
    """A worker, as far as the client that embeds it is concerned."""

    @property
    def engine(self) -> Engine: ...
    async def stop(self) -> None: ...


class How(TypedDict, total=False):
    """What may be said of a run that is started: its id, and what it can be found by."""

    id: str
    attributes: Mapping[str, str]


class Client:
    """A connection of a program to its runs. Use it as an async context manager; `app.connect()` makes it."""

    def __init__(
        self,
        app: Headwater,
        url: str | None = None,
        *,
        worker: bool | None = None,
        tenant: str = DEFAULT_TENANT,
        options: Any = None,
        log: Log | None = None,
        start: Start | None = None,
    ) -> None:
        self.app, self.tenant, self._options, self._start = app, tenant, options, start
        self._log = log or _open(app, url)
        self._shared = log is not None
        embeds = self._log.backend.name in {"memory", "sqlite"} if worker is None else worker
        self._embeds = embeds
        self._worker: Embedded | None = None
        self._engine: Engine | None = None
        self._ids = TimeOrderedIds()
        self._starting: set[asyncio.Task[Any]] = set()
        self.runs = Runs(self._log)
        self._waiting = Waiting(self._log, self.runs, self._is_ours)

    async def __aenter__(self) -> Self:
        if not self._shared:
            await self._log.__aenter__()
        try:
            if self._embeds:
                start = self._start or _start()
                self._worker = await start(self.app, self._log, self._options, ended=self._waiting.has_ended)
                self._engine = self._worker.engine
        except BaseException:
            await self._close_log()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._starting:
                await asyncio.wait(list(self._starting))
            if self._worker is not None:
                await self._worker.stop()
            await self._waiting.close()
        finally:
            self._worker = self._engine = None
            await self._close_log()

    async def _close_log(self) -> None:
        if not self._shared:
            await self._log.__aexit__(None, None, None)

    @property
    def log(self) -> Log:
        """The log that everything is in."""
        return self._log

    @property
    def engine(self) -> Engine:
        """The embedded worker."""
        if self._engine is None:
            raise LogClosed("This client embeds no worker, or is not open. Connect with worker=True.")
        return self._engine

    # Starting

    @overload
    async def start(self, workflow: Bound[R], /, **how: Unpack[How]) -> RunHandle[R]: ...
    @overload
    async def start(self, workflow: Callable[[], Made[R]], /, **how: Unpack[How]) -> RunHandle[R]: ...
    @overload
    async def start(self, workflow: Callable[[A], Made[R]], a: A, /, **how: Unpack[How]) -> RunHandle[R]: ...
    @overload
    async def start(
        self, workflow: Callable[[A, B], Made[R]], a: A, b: B, /, **how: Unpack[How]
    ) -> RunHandle[R]: ...
    @overload
    async def start(
        self, workflow: Callable[[A, B, C], Made[R]], a: A, b: B, c: C, /, **how: Unpack[How]
    ) -> RunHandle[R]: ...
    @overload
    async def start(
        self, workflow: Callable[[A, B, C, D], Made[R]], a: A, b: B, c: C, d: D, /, **how: Unpack[How]
    ) -> RunHandle[R]: ...
    async def start(self, workflow: Any, /, *args: Any, **how: Any) -> RunHandle[Any]:
        """Start a run; durable when it returns. The same id with the same workflow and input is the same run.

        More arguments, or named ones: `hw.start(fulfil.bind(order, express=True))`.
        """
        bound = _bound(workflow, args)
        id = how.pop("id", None)
        id = str(self._ids.new()) if id is None else id
        [handle] = await self.start_all({id: bound}, **how)
        return handle

    async def start_all(
        self, runs: Mapping[str, Bound[R]], *, attributes: Mapping[str, str] | None = None
    ) -> list[RunHandle[R]]:
        """Start many runs, by id, in one round trip."""
        # In a task of its own: a caller who gives up must not leave runs that are ours and that we do not know of.
        starting = asyncio.create_task(self._start_all(runs, attributes or {}))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def _start_all(
        self, runs: Mapping[str, Bound[R]], attributes: Mapping[str, str]
    ) -> list[RunHandle[R]]:
        engine = self._engine
        workflows = [bound.workflow for bound in runs.values()]
        serves = engine is not None and all(engine.serves(w.name, w.version) for w in workflows)
        owner = engine.worker if engine is not None and serves and engine.has_room() else None
        news = [
            NewRun(
                id=id,
                workflow=bound.workflow.name,
                workflow_version=bound.workflow.version,
                input=bound.input(),
                tenant=self.tenant,
                attributes=attributes,
            )
            for id, bound in runs.items()
        ]
        try:
            created = await self.runs.create(*news, owner=owner)
        except BaseException:
            if engine is not None and owner is not None:  # some may have been created, as ours
                for new in news:
                    engine.adopt(run_stream(new.id, self.tenant))
            raise
        handles: list[RunHandle[R]] = []
        for made, bound in zip(created, runs.values(), strict=True):
            workflow = bound.workflow
            if engine is not None and made.owned:
                engine.begin(run_stream(made.run, self.tenant), made.event, made.appended.recorded_at)
            label = label_of(workflow.name, made.event.workflow_version)
            handles.append(RunHandle(self, made.run, workflow, new=made.new, label=label))
        if engine is not None and owner is None:
            engine.poke()
        return handles

    def handle(self, run: str, workflow: Workflow[P, R] | None = None) -> RunHandle[R]:
        """A run that was started before, maybe elsewhere. Its result is typed if its workflow is given."""
        label = label_of(workflow.name, workflow.version) if workflow is not None else None
        return RunHandle(self, run, workflow, new=False, label=label)

    # Talking to runs

    async def send(
        self,
        token: str,
        payload: Any,
        *,
        run: str | None = None,
        key: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Send a payload to the hook with this token. With a `key`, sending again changes nothing."""
        plain = _ANY.dump_python(payload, mode="json")
        await self.runs.send(token, plain, self.tenant, run=run, key=key, actor=actor)
        self._poke()

    async def cancel(self, run: str, reason: str | None = None) -> None:
        """Ask a run to end; asking again changes nothing."""
        await self.runs.cancel(run, self.tenant, reason)
        self._poke()

    async def resume(self, run: str) -> None:
        """Let a held run go on."""
        await self.runs.resume(run, self.tenant)
        self._poke()

    # Looking

    async def get(self, run: str, *, version: int | None = None, until: datetime | None = None) -> RunState:
        """The state of a run: now, at a version of its stream, or at a time."""
        return await self.runs.get(run, self.tenant, version=version, until=until)

    async def list(
        self,
        *,
        workflow: Workflow[..., Any] | str | None = None,
        status: RunStatus | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 20,
    ) -> Sequence[RunSummary]:
        """Runs, the newest first; `before` is the `place` of the last one of an earlier page."""
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        statuses = () if status is None else status
        return await self.runs.list(self.tenant, workflow=name, status=statuses, before=before, limit=limit)

    def history(self, run: str, *, until: datetime | None = None) -> AsyncIterator[Recorded]:
        """The events of a run."""
        return self.runs.events(run, self.tenant, until=until)

    async def result(self, run: str, timeout: float | None = None) -> Any:
        """The result of a run, as plain JSON; see `handle` for a typed one."""
        handle: RunHandle[Any] = self.handle(run)
        return await handle.result(timeout)

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd:
        return await self._waiting.wait_for((self.tenant, run), label, timeout)

    def _is_ours(self, key: tuple[str, str]) -> bool:
        return self._engine is not None and key in self._engine.runs

    def _poke(self) -> None:
        if self._engine is not None:
            self._engine.poke()


def _start() -> Start:
    from headwater.worker.start import start

    return start


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def _open(app: Headwater, url: str | None) -> Log:
    return open_log(url, registry=register_run_events(Registry(*app.events)))


def _bound(workflow: Any, args: tuple[Any, ...]) -> Bound[Any]:
    if not isinstance(workflow, Workflow | Bound):
        raise DeclarationRefused(f"{workflow!r} is no workflow. Declare it with @app.workflow.")
    bind: Callable[..., Bound[Any]] = workflow.bind
    return bind(*args)


def run_once(app: Headwater, workflow: Workflow[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    """A script's whole life: connect, start, wait, close."""

    async def main() -> R:
        from headwater.worker.collector import calm_collector

        calm_collector()
        async with app.connect(worker=True) as hw:
            run = await hw.start(Bound(workflow, args, kwargs))
            return await run.result()

    return asyncio.run(main())

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
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from pydantic import TypeAdapter

from headwater.app import Headwater, Workflow
from headwater.app.workflows import Bound
from headwater.client.embedded import Embedded, Start
from headwater.client.handle import RunEnd, RunHandle
from headwater.client.side import Side
from headwater.errors import DeclarationRefused, NotSupported
from headwater.events.envelope import Recorded
from headwater.events.ids import TimeOrderedIds
from headwater.log.log import Log
from headwater.log.open import open_log
from headwater.runs.entry import RunSummary
from headwater.runs.events import registry_of
from headwater.runs.machines import RunStatus
from headwater.runs.rows import DEFAULT_TENANT, label_of
from headwater.runs.state import RunState
from headwater.runs.store import Runs
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.engine.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
Made = Coroutine[Any, Any, R]


class How(TypedDict, total=False):
    """What may be said of a run that is started: its id, and what it can be found by."""

    id: str
    attributes: Mapping[str, str]


class Client:
    """A connection of a program to its runs. Use it as an async context manager; `app.connect()` makes it.

    The address says what it stands on: a log of its own, or, with `http://...`, a server. It does the same on both,
    but for what only a log has: `log`, `runs`, and the `engine` of an embedded worker.
    """

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
        key: str | None = None,
    ) -> None:
        self.app, self.tenant = app, tenant
        self._ids = TimeOrderedIds()
        self._embedded: Embedded | None = None
        address = (url or Settings.read().url) if log is None else ""
        if address.startswith(("http://", "https://")):
            from headwater.client.remote import Remote

            if worker:
                raise NotSupported(
                    f"A client of the server at {address} embeds no worker: start one beside its log."
                )
            self._side: Side = Remote(address, tenant, key, registry_of(app))
        else:
            shared = log is not None
            log = log or open_log(address, registry=registry_of(app))
            self._side = self._embedded = Embedded(
                app, tenant, log, shared=shared, worker=worker, options=options, start=start
            )

    async def __aenter__(self) -> Self:
        await self._side.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._side.close()

    @property
    def log(self) -> Log:
        """The log that everything is in."""
        return self._own("log").log

    @property
    def runs(self) -> Runs:
        """The runs of the log, of all tenants."""
        return self._own("runs").runs

    @property
    def engine(self) -> Engine:
        """The embedded worker."""
        return self._own("engine").engine

    def _own(self, what: str) -> Embedded:
        if self._embedded is None:
            raise NotSupported(f"A client of a server has no {what}: that is on the server's side.")
        return self._embedded

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
        started = await self._side.start_all(runs, attributes or {})
        return [
            RunHandle(self, made.run, bound.workflow, new=made.new, label=made.label)
            for made, bound in zip(started, runs.values(), strict=True)
        ]

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
        await self._side.send(token, plain, run, key, actor)

    async def cancel(self, run: str, reason: str | None = None) -> None:
        """Ask a run to end; asking again changes nothing."""
        await self._side.cancel(run, reason)

    async def resume(self, run: str) -> None:
        """Let a held run go on."""
        await self._side.resume(run)

    # Looking

    async def get(self, run: str, *, version: int | None = None, until: datetime | None = None) -> RunState:
        """The state of a run: now, at a version of its stream, or at a time."""
        return await self._side.get(run, version, until)

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
        return await self._side.list(name, () if status is None else (status,), before, limit)

    def history(self, run: str, *, until: datetime | None = None) -> AsyncIterator[Recorded]:
        """The events of a run."""
        return self._side.history(run, until)

    async def result(self, run: str, timeout: float | None = None) -> Any:
        """The result of a run, as plain JSON; see `handle` for a typed one."""
        handle: RunHandle[Any] = self.handle(run)
        return await handle.result(timeout)

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd:
        return await self._side.wait_for(run, label, timeout)


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


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

"""A client on a log of its own, which may embed a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from headwater.app import Headwater
from headwater.app.workflows import Bound
from headwater.client.handle import RunEnd
from headwater.client.side import Started
from headwater.client.waiting import Waiting
from headwater.errors import LogClosed
from headwater.events.envelope import Recorded
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.runs.creation import NewRun
from headwater.runs.entry import RunSummary
from headwater.runs.machines import RunStatus
from headwater.runs.rows import label_of, run_stream
from headwater.runs.state import RunState
from headwater.runs.store import Runs
from headwater.telemetry import tracing

if TYPE_CHECKING:
    from headwater.engine.engine import Engine


class Start(Protocol):
    """How an embedded worker is started."""

    async def __call__(
        self, app: Headwater, log: Log, options: Any = None, /, *, ended: Callable[[str, str, Event], None]
    ) -> EmbeddedWorker: ...


class EmbeddedWorker(Protocol):
    """A worker, as far as the client that embeds it is concerned."""

    @property
    def engine(self) -> Engine: ...
    async def stop(self) -> None: ...


class Embedded:
    """The side of a client that reads and writes the log itself."""

    def __init__(
        self,
        app: Headwater,
        tenant: str,
        log: Log,
        *,
        shared: bool,
        worker: bool | None,
        options: Any,
        start: Start | None,
    ) -> None:
        self._app, self._tenant, self._options, self._start = app, tenant, options, start
        self.log, self._shared = log, shared
        self._embeds = log.backend.name in {"memory", "sqlite"} if worker is None else worker
        self._worker: EmbeddedWorker | None = None
        self._engine: Engine | None = None
        self._using = ExitStack()
        self._starting: set[asyncio.Task[Any]] = set()
        self.runs = Runs(log)
        self._waiting = Waiting(log, self.runs, self._is_ours, tenant)

    async def open(self) -> None:
        if not self._shared:
            await self.log.__aenter__()
        self._using.enter_context(self._app.using(self.log))
        try:
            if self._embeds:
                start = self._start or _start()
                self._worker = await start(self._app, self.log, self._options, ended=self._waiting.has_ended)
                self._engine = self._worker.engine
        except BaseException:
            await self._close_log()
            raise

    async def close(self) -> None:
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
        self._using.close()
        if not self._shared:
            await self.log.__aexit__(None, None, None)

    @property
    def engine(self) -> Engine:
        """The embedded worker."""
        if self._engine is None:
            raise LogClosed("This client embeds no worker, or is not open. Connect with worker=True.")
        return self._engine

    async def start_all(self, runs: Mapping[str, Bound[Any]], attributes: Mapping[str, str]) -> list[Started]:
        # In a task of its own: a caller who gives up must not leave runs that are ours and that we do not know of.
        starting = asyncio.create_task(self._start_all(runs, attributes))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def _start_all(
        self, runs: Mapping[str, Bound[Any]], attributes: Mapping[str, str]
    ) -> list[Started]:
        engine = self._engine
        workflows = [bound.workflow for bound in runs.values()]
        serves = engine is not None and all(engine.serves(w.name, w.version) for w in workflows)
        owner = None
        trace = tracing.current()
        news = [
            NewRun(
                id=id,
                workflow=bound.workflow.name,
                workflow_version=bound.workflow.version,
                input=bound.input(),
                tenant=self._tenant,
                attributes=attributes,
                traceparent=trace,
            )
            for id, bound in runs.items()
        ]
        try:
            with engine.room_for(len(news)) if engine is not None and serves else nullcontext(False) as fits:
                owner = engine.worker if engine is not None and fits else None
                created = await self.runs.create(*news, owner=owner)
        except BaseException:
            if engine is not None and owner is not None:  # some may have been created, as ours
                for new in news:
                    engine.adopt(run_stream(new.id, self._tenant))
            raise
        started: list[Started] = []
        for made in created:
            if engine is not None and made.owned:
                engine.begin(run_stream(made.run, self._tenant), made.event, made.appended.recorded_at, trace)
            elif engine is not None and owner is not None:  # known: by our own first try perhaps, as ours
                engine.adopt(run_stream(made.run, self._tenant))
            elif made.new:
                self._waiting.has_created((self._tenant, made.run), made.appended.positions[0])
            label = label_of(made.event.workflow, made.event.workflow_version)
            started.append(Started(made.run, made.new, label))
        if engine is not None and owner is None:
            engine.poke()
        return started

    async def send(
        self, token: str, payload: Any, run: str | None, key: str | None, actor: str | None
    ) -> None:
        await self.runs.send(token, payload, self._tenant, run=run, key=key, actor=actor)
        self._poke()

    async def cancel(self, run: str, reason: str | None) -> None:
        await self.runs.cancel(run, self._tenant, reason)
        self._poke()

    async def resume(self, run: str) -> None:
        await self.runs.resume(run, self._tenant)
        self._poke()

    async def get(self, run: str, version: int | None, until: datetime | None) -> RunState:
        return await self.runs.get(run, self._tenant, version=version, until=until)

    async def list(
        self,
        workflow: str | None,
        status: Sequence[RunStatus],
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[RunSummary]:
        return await self.runs.list(
            self._tenant, workflow=workflow, status=status, before=before, limit=limit
        )

    def history(self, run: str, until: datetime | None) -> AsyncIterator[Recorded]:
        return self.runs.events(run, self._tenant, until=until)

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd:
        return await self._waiting.wait_for((self._tenant, run), label, timeout)

    def _is_ours(self, key: tuple[str, str]) -> bool:
        return self._engine is not None and key in self._engine.runs

    def _poke(self) -> None:
        if self._engine is not None:
            self._engine.poke()


def _start() -> Start:
    from headwater.worker.start import start

    return start

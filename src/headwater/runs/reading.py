"""Reading runs: their state at any moment, their events, how they ended, and the list of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from headwater.errors import RunNotFound, RunNotSupportedError
from headwater.events.envelope import SPEC_VERSION_CURRENT, SPEC_VERSION_LEGACY, Recorded
from headwater.log.log import Log
from headwater.log.port import Data
from headwater.log.snapshots import Folded, Folder
from headwater.runs.entry import RunSummary
from headwater.runs.events import RunCancelled, RunCompleted, RunFailed, register_run_events
from headwater.runs.machines import LATE, RunStatus
from headwater.runs.parts import HookState, StepState, WaitState
from headwater.runs.protocol import check_spec, is_legacy, run_event
from headwater.runs.rows import DEFAULT_TENANT, LIST, fence_key, run_stream, spec_of_label
from headwater.runs.state import RUN_FOLD, RunState

BATCH: Final = 100

RunEnd = RunCompleted | RunFailed | RunCancelled


class RunReader:
    """The runs of one log, to look at."""

    def __init__(self, log: Log, *, snapshot_every: int = 20) -> None:
        register_run_events(log.registry)
        self.log = log
        self.folder = Folder(log, every=snapshot_every)

    async def get(
        self,
        run: str,
        tenant: str = DEFAULT_TENANT,
        *,
        version: int | None = None,
        until: datetime | None = None,
        snapshots: bool = True,
        watch: Callable[[Recorded, RunState], None] | None = None,
    ) -> RunState:
        """A run now, at a version, or at a time. `watch` is shown every event with the state after it."""
        folded: Folded[RunState] = await self.folder.state(
            run_stream(run, tenant),
            RUN_FOLD,
            to_version=version,
            until=until,
            snapshots=snapshots,
            watch=watch,
        )
        if folded.version == 0:
            raise RunNotFound(run, tenant)
        return folded.state

    async def events(
        self,
        run: str,
        tenant: str = DEFAULT_TENANT,
        *,
        until: datetime | None = None,
        to_version: int | None = None,
    ) -> AsyncIterator[Recorded]:
        """The events of a run, up to a version or a time, read in batches."""
        stream = run_stream(run, tenant)
        first = 1
        while to_version is None or first <= to_version:
            last = first + BATCH - 1 if to_version is None else min(to_version, first + BATCH - 1)
            async for recorded in self.log.stream(stream, from_version=first, to_version=last, until=until):
                first = recorded.version + 1
                yield recorded
            if first <= last:
                return

    async def outcome(self, run: str, tenant: str = DEFAULT_TENANT) -> RunEnd | None:
        """How a run ended; None while it has not. Reads from the back, past the results of steps that came later."""
        before, limit = None, 4
        while True:
            count = 0
            async for recorded in self.log.stream(
                run_stream(run, tenant), to_version=before, backward=True, limit=limit
            ):
                if recorded.type not in LATE:
                    event = run_event(recorded)
                    return event if isinstance(event, RunEnd) else None
                before, count = recorded.version - 1, count + 1
            if before is None:
                raise RunNotFound(run, tenant)
            if count < limit or before == 0:
                return None
            limit = BATCH

    async def list(
        self,
        tenant: str | None = DEFAULT_TENANT,
        *,
        workflow: str | None = None,
        status: RunStatus | Sequence[RunStatus] = (),
        runs: Sequence[str] = (),
        before: RunSummary | tuple[int, str] | None = None,
        limit: int = 20,
    ) -> Sequence[RunSummary]:
        """Runs, the newest first; the page after a run of an earlier page with `before`."""
        rows = await self.log.backend.entries(
            tenant,
            LIST,
            label=workflow,
            statuses=(status,) if isinstance(status, str) else tuple(status),
            keys=runs,
            before=before.place if isinstance(before, RunSummary) else before,
            limit=limit,
        )
        return [RunSummary.of(row) for row in rows]

    async def steps(self, run: str, tenant: str = DEFAULT_TENANT) -> Mapping[int, StepState]:
        return (await self.get(run, tenant)).steps

    async def hooks(self, run: str, tenant: str = DEFAULT_TENANT) -> Mapping[int, HookState]:
        return (await self.get(run, tenant)).hooks

    async def waits(self, run: str, tenant: str = DEFAULT_TENANT) -> Mapping[int, WaitState]:
        return (await self.get(run, tenant)).waits

    async def spec(self, run: str, tenant: str = DEFAULT_TENANT) -> int:
        """The protocol that a run is written in: what its fence says, or its first event. Refuses newer ones."""
        fences = await self.log.backend.fences(tenant, [fence_key(run)])
        found: int | None = spec_of_label(fences[0].label) if fences else None
        if found is None:
            async for recorded in self.log.stream(run_stream(run, tenant), limit=1, data=Data.NONE):
                found = recorded.spec_version or SPEC_VERSION_LEGACY
        if found is None:
            raise RunNotFound(run, tenant)
        check_spec(run, found)
        return found

    async def current(self, run: str, tenant: str, what: str) -> RunState:
        """A run's state, if this code may write for it; `what` says what would be done to it."""
        state = await self.get(run, tenant)
        if is_legacy(state.spec_version):
            raise RunNotSupportedError(run, state.spec_version, SPEC_VERSION_CURRENT, what)
        return state

"""Runs as rows and events of a log: create, cancel, send, resume, and every way of reading them.

    runs = Runs(log)
    await runs.create(NewRun(id="order-1", workflow="fulfil", input={"order": 1}))
    await runs.send("approve:1", {"yes": True}, key="mail-7")
    state = await runs.get("order-1")

What comes from outside is guarded by rows in its append (a run that has not ended has a fence), and leaves a wake mark
for the run's owner. Nobody here executes a run; `cancel` alone ends one, when there is nothing to execute.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from headwater.errors import (
    EventIdReused,
    FenceLost,
    MixedIds,
    RunFinished,
    RunNotHeld,
    WrongVersion,
)
from headwater.events.envelope import SPEC_VERSION_LEGACY, NewEvent
from headwater.events.ids import derived_id
from headwater.events.names import check_id
from headwater.log.log import Log
from headwater.log.port import FenceRow
from headwater.log.side import ClearDue, Fence, SideRow, Trust, Wake
from headwater.log.write import Appended, Write
from headwater.runs.creation import Created, NewRun, create_runs
from headwater.runs.entry import entry_of
from headwater.runs.events import CancelRequested, RunCancelled, RunReleased, WaitCompleted
from headwater.runs.protocol import check_spec, is_legacy
from headwater.runs.reading import RunReader
from headwater.runs.rows import (
    DEFAULT_TENANT,
    LIST,
    due_key,
    end_rows,
    fence_key,
    run_stream,
    spec_of_label,
)
from headwater.runs.sending import Sender, Sent
from headwater.runs.state import RunState


class Runs(RunReader):
    """The runs of one log."""

    def __init__(self, log: Log, *, snapshot_every: int = 20) -> None:
        super().__init__(log, snapshot_every=snapshot_every)
        self._sender = Sender(log, self.folder)

    async def create(self, *new: NewRun, owner: str | None = None) -> list[Created]:
        """Create runs, all in one round trip; with an `owner`, they are that worker's at once.

        The same id with the same workflow and input is the same run; with another, `RunIdReused`. One that is refused
        does not keep the others from being created.
        """
        return await create_runs(self.log, new, owner)

    async def send(
        self,
        token: str,
        payload: Any,
        tenant: str = DEFAULT_TENANT,
        *,
        run: str | None = None,
        key: str | None = None,
        actor: str | None = None,
    ) -> Sent:
        """Send a payload to the hook that is open under a token; payloads with one `key` count once.

        With `run`, only to that run, and the error tells a run that has ended from one that has not made the hook yet.
        """
        return await self._sender.send(token, payload, tenant, run, key, actor)

    async def resume(
        self, run: str, tenant: str = DEFAULT_TENANT, actor: str | None = None, *, key: str | None = None
    ) -> None:
        """Release a held run: a worker goes on with it, and it is no suspect any more.

        With a `key`, asking again changes nothing, also when the run has been held anew since.
        """
        stream = run_stream(run, tenant)
        id = derived_id(stream, f"run_released/{check_id('key', key)}") if key is not None else None
        while True:
            if id is not None and await self.log.find(tenant, id):
                return
            state = await self.current(run, tenant, "resumed")
            if state.finished:
                raise RunFinished(run, state.status)
            if state.status != "held":
                raise RunNotHeld(run, state.status)
            key = fence_key(run)
            rows: list[SideRow] = [Wake(key, needed=True), Trust(key), entry_of(state, "running")]
            event = NewEvent(event=RunReleased(actor=actor), id=id, run_id=run, actor=actor)
            with suppress(WrongVersion, EventIdReused):  # something came in meanwhile
                await self.log.append(Write(stream, [event], expect=state.version, rows=rows))
                return

    async def complete_wait(self, run: str, call: int, tenant: str = DEFAULT_TENANT) -> Appended:
        """Record that a timer has fired; `RowGone` when it was cancelled before."""
        legacy = is_legacy(await self.spec(run, tenant))
        stream = run_stream(run, tenant)
        id = derived_id(stream, f"wait_completed/{call}")
        rows: list[SideRow] = [ClearDue(due_key(run, call)), Wake(fence_key(run), needed=True)]
        event = NewEvent(event=WaitCompleted(call=call), id=id, run_id=run)
        if legacy:
            rows, event = [], _legacy(event)
        [appended] = await self.log.append(Write(stream, [event], rows=rows))
        return appended

    async def cancel(
        self, run: str, tenant: str = DEFAULT_TENANT, reason: str | None = None, actor: str | None = None
    ) -> None:
        """Ask a run to end. Its owner ends it, after clean-up; one that nobody executes is cancelled at once."""
        fences = await self.log.backend.fences(tenant, [fence_key(run)])
        if not fences or is_legacy(spec_of_label(fences[0].label)):
            if not await self._cancel_without_events(run, tenant):
                await self.cancel(run, tenant, reason, actor)  # it was created while we looked
            return
        check_spec(run, spec_of_label(fences[0].label))
        if fences[0].holder is None and await self._cancel_at_once(fences[0], run, tenant, reason, actor):
            return
        event = _cancel_requested(run, tenant, reason, actor)
        wake = Wake(fence_key(run), needed=True)
        with suppress(EventIdReused, FenceLost):  # asked before, or ended meanwhile
            [appended] = await self.log.append(Write(run_stream(run, tenant), [event], rows=[wake]))
            if not appended.known[0]:
                return
        await self._check_not_ended_otherwise(run, tenant)

    async def _cancel_at_once(
        self, fence: FenceRow, run: str, tenant: str, reason: str | None, actor: str | None
    ) -> bool:
        """End a run that is pending or held while nobody owns it. False: it must be asked to end itself.

        The fence's epoch says that nobody has claimed it since, the version that nothing else has come in. A child
        is asked, since its end must reach its parent.
        """
        listed = await self.log.backend.entries(tenant, LIST, keys=[run], limit=1)
        if not listed or listed[0].status not in {"pending", "held"}:
            return False
        state = await self.get(run, tenant)
        if state.status not in {"pending", "held"} or state.parent is not None:
            return False
        for child in state.open_children:
            with suppress(RunFinished):
                await self.cancel(child, tenant, reason, actor)
        stream = run_stream(run, tenant)
        ended = RunCancelled(reason=reason)
        events = [
            *([] if state.cancel_requested else [_cancel_requested(run, tenant, reason, actor)]),
            NewEvent(event=ended, id=derived_id(stream, "run_cancelled"), run_id=run, actor=actor),
        ]
        rows = [Fence(fence.key, fence.epoch), *_end_rows(state)]
        try:
            await self.log.append(Write(stream, events, expect=state.version, rows=rows))
        except (FenceLost, WrongVersion, EventIdReused, MixedIds):
            return False
        return True

    async def _cancel_without_events(self, run: str, tenant: str) -> bool:
        """A run without a fence has ended, or is a legacy one, of which only the rows are changed. False: neither."""
        if is_legacy(await self.spec(run, tenant)):
            state = await self.get(run, tenant)
            if not state.finished:
                await self.log.append(Write(run_stream(run, tenant), rows=_end_rows(state)))
                return True
        return await self._check_not_ended_otherwise(run, tenant)

    async def _check_not_ended_otherwise(self, run: str, tenant: str) -> bool:
        """Refuse a run that has ended in another way; whether it has ended at all."""
        ended = await self.outcome(run, tenant)
        if ended is not None and not isinstance(ended, RunCancelled):
            raise RunFinished(run, ended.type.removeprefix("run_"))
        return ended is not None


def _end_rows(state: RunState) -> list[SideRow]:
    """The rows of a run that is cancelled."""
    rows = end_rows(state.run, state.open_tokens, state.open_waits, state.queued_steps)
    return [*rows, entry_of(state, "cancelled")]


def _cancel_requested(run: str, tenant: str, reason: str | None, actor: str | None) -> NewEvent:
    event = CancelRequested(reason=reason, actor=actor)
    id = derived_id(run_stream(run, tenant), "cancel_requested")
    return NewEvent(event=event, id=id, run_id=run, actor=actor)


def _legacy(event: NewEvent) -> NewEvent:
    return replace(event, spec_version=SPEC_VERSION_LEGACY)

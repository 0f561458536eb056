"""What a run has to say with its next write: events in order, and the rows that go with them.

A row is made and taken back within one write when its call begins and ends there (a timer that is set and cancelled at
once): then the log gets both events and no row.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from headwater.app.steps import Step
from headwater.engine.notes import Notes, StepNote
from headwater.errors import PayloadRefused
from headwater.events.canonical import encode_event, encode_json
from headwater.events.clock import from_us
from headwater.events.envelope import NewEvent, Stream
from headwater.events.model import Event
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    GiveKey,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    WithdrawReady,
)
from headwater.log.write import Write
from headwater.runs import events as run
from headwater.runs import rows
from headwater.runs.entry import entry
from headwater.runs.machines import RunStatus
from headwater.workflows.failures import describe

_INLINE: Final = 16 * 1024


class Outbox:
    """One write in the making. It is written whole, or, after a known race, without what the race has settled."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[Event] = []
        self.others: list[Write] = []
        self.urgent = False
        """Somebody waits for it."""
        self.waits: dict[int, int] = {}
        self.hooks: dict[int, str] = {}
        self.told: list[asyncio.Future[None]] = []
        """Those who wait until it is durable."""
        self.ends: Event | None = None
        self.holds = self.queues = False
        self._rows: dict[str, SideRow] = {}

    def add(self, event: Event, *, urgent: bool = True) -> None:
        self.events.append(event)
        self.urgent = self.urgent or urgent

    def add_row(self, row: SideRow) -> None:
        self._rows[f"{type(row).__name__}/{row.key}"] = row

    @property
    def rows(self) -> list[SideRow]:
        return list(self._rows.values())

    # Steps in queues

    def put_ready(self, note: StepNote, step: Step[..., Any], traceparent: str | None = None) -> None:
        key = rows.ready_key(self.stream.id, note.call)
        self.queues = True
        data = ready_data(
            self.stream.id, note.call, step.name, note.input, action=note.action, trace=traceparent
        )
        self._rows[f"ready/{key}"] = PutReady(note.queue or "", key, data, step.options.priority)

    def revoke(self, note: StepNote) -> None:
        """Nobody is to execute the step any more; if it has ended meanwhile, that is a race (see `had_ended`)."""
        key = rows.ready_key(self.stream.id, note.call)
        if self._rows.pop(f"ready/{key}", None) is None:
            self._rows[f"ready/{key}"] = ClearReady(note.queue or "", key)

    def withdraw(self, note: StepNote) -> None:
        """Nobody is to begin the step any more; who has begun it may still end it."""
        key = rows.ready_key(self.stream.id, note.call)
        if self._rows.pop(f"ready/{key}", None) is None:
            self._rows[f"ready/{key}"] = WithdrawReady(note.queue or "", key)

    # Waits and hooks

    def add_wait(self, call: int, until_us: int) -> None:
        self.add(run.WaitCreated(call=call, until=from_us(until_us)), urgent=False)
        self.waits[call] = until_us
        key = rows.due_key(self.stream.id, call)
        self._rows[f"due/{key}"] = SetDue(key, from_us(until_us))

    def end_wait(self, call: int) -> None:
        self.add(run.WaitCancelled(call=call), urgent=False)
        key = rows.due_key(self.stream.id, call)
        if self.waits.pop(call, None) is not None:
            del self._rows[f"due/{key}"]
        else:
            self._rows[f"due/{key}"] = ClearDue(key)

    def add_hook(self, call: int, token: str, name: str) -> None:
        self.add(run.HookCreated(call=call, token=token, name=name))
        self.hooks[call] = token
        key = rows.token_key(token)
        holder = str(rows.HookPlace(self.stream.id, call))
        self._rows[f"key/{key}/{call}"] = TakeKey(key, holder)

    def end_hook(self, call: int, token: str) -> None:
        self.add(run.HookDisposed(call=call), urgent=False)
        key = rows.token_key(token)
        if self.hooks.pop(call, None) is not None:
            del self._rows[f"key/{key}/{call}"]
        else:
            self._rows[f"key/{key}/{call}"] = GiveKey(
                key, str(rows.HookPlace(self.stream.id, call)), missing_ok=True
            )

    def gives_back(self, token: str) -> bool:
        key = rows.token_key(token)
        return any(isinstance(row, GiveKey) and row.key == key for row in self._rows.values())

    # The run itself

    def mark(self, event: Event, emitted: Event | None, stream: Stream | None) -> None:
        self.add(event, urgent=False)
        if emitted is not None and stream is not None:
            there = stream._replace(tenant=self.stream.tenant)
            self.others.append(Write(there, [NewEvent(event=emitted, run_id=self.stream.id)]))

    def show(self, notes: Notes, status: RunStatus, error: str | None = None) -> None:
        """What the list of runs says from now on."""
        if notes.created is not None:
            self._rows["entry"] = entry(
                self.stream.id,
                notes.created.workflow,
                notes.created.workflow_version,
                status,
                state=notes.data.get("state"),
                attributes=notes.attributes,
                error=error,
                parent=notes.created.parent,
            )

    def end(self, notes: Notes, event: run.RunCompleted | run.RunFailed | run.RunCancelled) -> None:
        """The last write: nothing of the run is left but its events and its entry."""
        self.add(event)
        self.ends = event
        for call, token in notes.hooks.items():
            key, holder = rows.token_key(token), str(rows.HookPlace(self.stream.id, call))
            if self._rows.pop(f"key/{key}/{call}", None) is None:
                self._rows[f"key/{key}/{call}"] = GiveKey(key, holder, missing_ok=True)
        for call in notes.waits:
            key = rows.due_key(self.stream.id, call)
            if self._rows.pop(f"due/{key}", None) is None:
                self._rows[f"due/{key}"] = ClearDue(key, missing_ok=True)
        for note in notes.steps.values():
            if note.queue is not None:
                self.withdraw(note)
        self._rows["fence"] = CloseFence(rows.fence_key(self.stream.id))
        match event:
            case run.RunCompleted():
                self.show(notes, "completed")
            case run.RunCancelled():
                self.show(notes, "cancelled")
            case run.RunFailed(error=error):
                self.show(notes, "failed", error.message)

    # What a refusal has settled

    def conflict(self, key: str, holder: str) -> bool:
        """A hook's token is held by another: say so in its place."""
        for call, token in list(self.hooks.items()):
            if rows.token_key(token) == key:
                other = rows.HookPlace.parse(holder).run
                conflict = run.HookConflict(call=call, token=token, holder=other)
                self.events = [conflict if _is_hook(e, call) else e for e in self.events]
                del self.hooks[call], self._rows[f"key/{key}/{call}"]
                return True
        return False

    def wait_had_fired(self, key: str) -> bool:
        """A wait was completed before it could be cancelled: that stands."""
        if self._rows.pop(f"due/{key}", None) is None:
            return False
        call, _ = rows.call_of_due(key)
        self.events = [e for e in self.events if not (isinstance(e, run.WaitCancelled) and e.call == call)]
        return True

    def had_ended(self, queued: str) -> bool:
        """A step in a queue ended before it could be cancelled: that stands."""
        key = queued.partition("/")[2]
        if self._rows.pop(f"ready/{key}", None) is None:
            return False
        call, _ = rows.call_of_ready(key)
        self.events = [e for e in self.events if not (isinstance(e, run.StepCancelled) and e.call == call)]
        return True

    def leave_out_poison(self) -> bool:
        """A result that cannot be stored is a final failure of its step: the effect happened, and says so."""
        found = False
        for number, event in enumerate(self.events):
            try:
                encode_event(event)
            except PayloadRefused as refused:
                if not isinstance(event, run.StepCompleted):
                    return False
                error = describe(refused)
                self.events[number] = run.StepFailed(call=event.call, attempt=event.attempt, error=error)
                found = True
        return found


def ready_data(
    run_id: str,
    call: int,
    name: str,
    given: Any,
    failures: int = 0,
    *,
    action: str | None = None,
    trace: str | None = None,
) -> bytes:
    """What a worker must know to execute a step; a large input is read from the run's stream."""
    said = {"run": run_id, "call": call, "name": name, "input": given, "failures": failures}
    if action is not None:
        said["action"] = action
    if trace is not None:
        said["traceparent"] = trace
    data = encode_json(said, f"step {name!r}")
    if len(data) > _INLINE:
        del said["input"]
        data = encode_json(said, f"step {name!r}")
    return data


def _is_hook(event: Event, call: int) -> bool:
    return isinstance(event, run.HookCreated) and event.call == call

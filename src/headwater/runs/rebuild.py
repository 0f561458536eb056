"""The rows of an imported log, made anew from the events of its runs.

Promise. After an import, every unfinished run has the rows that it would have in a log of its own: its fence, unowned
and woken, so that a worker takes it; its open hooks' keys, its pending waits' due rows, its queued steps' ready rows
(for the attempt after the last one that began), and its entry. A run that has ended has its entry only.

`RunRows` is given the events of a log one by one, in order, and remembers of each unfinished run what its later rows
need; so an import may be of any size. Runs of another protocol get a fence under that protocol's label, which nobody
here claims. Legacy runs have no due and no ready rows: their timers are not ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from headwater.errors import PayloadMissing
from headwater.events.codec import Codec
from headwater.events.envelope import SPEC_VERSION_LEGACY, Recorded, StoredRow
from headwater.events.registry import Registry, RegistryDecoder
from headwater.log.side import (
    ClearDue,
    ClearReady,
    GiveKey,
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
)
from headwater.runs.entry import entry
from headwater.runs.events import (
    AttributesSet,
    HookCreated,
    HookDisposed,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunCreated,
    RunEvent,
    RunFailed,
    RunHeld,
    RunReleased,
    RunStarted,
    RunStateChanged,
    StepCancelled,
    StepCompleted,
    StepCreated,
    StepFailed,
    StepRetrying,
    StepStarted,
    WaitCancelled,
    WaitCompleted,
    WaitCreated,
    register_run_events,
)
from headwater.runs.machines import RUN, RunStatus
from headwater.runs.protocol import MODELS, is_legacy, run_event
from headwater.runs.rows import (
    STREAM_TYPE,
    HookPlace,
    due_key,
    end_rows,
    fence_key,
    label_of,
    open_rows_back,
    ready_data,
    ready_key,
    token_key,
)

Mattering = (
    RunStarted
    | RunStateChanged
    | RunHeld
    | RunReleased
    | RunContinued
    | RunCompleted
    | RunFailed
    | RunCancelled
    | StepCreated
    | StepStarted
    | StepRetrying
    | StepCompleted
    | StepFailed
    | StepCancelled
    | HookCreated
    | HookDisposed
    | WaitCreated
    | WaitCompleted
    | WaitCancelled
    | AttributesSet
)


@dataclass(slots=True)
class _Open:
    """What is remembered of a run that has not ended."""

    run: str
    legacy: bool
    workflow: str
    workflow_version: int
    parent: str | None
    attributes: Mapping[str, str]
    status: RunStatus = "pending"
    state: Any = None
    error: str | None = None
    tokens: dict[int, str] = field(default_factory=dict[int, str])
    waits: set[int] = field(default_factory=set[int])
    queued: dict[int, str] = field(default_factory=dict[int, str])

    def entry(self) -> SideRow:
        return entry(
            self.run,
            self.workflow,
            self.workflow_version,
            self.status,
            state=self.state,
            attributes=self.attributes,
            error=self.error,
            parent=self.parent,
        )

    def follow(self, event: Mattering) -> list[SideRow]:  # noqa: PLR0911 - one for each kind
        """The rows that an event moves."""
        self.status = RUN.after(self.status, event.type) or self.status
        match event:
            case RunStateChanged():
                if event.name != "state":
                    return []
                self.state = event.to
                return [self.entry()]
            case RunStarted() | RunHeld() | RunReleased():
                return [self.entry()]
            case AttributesSet():
                self.attributes = {**self.attributes, **event.attributes}
                return [self.entry()]
            case RunContinued():
                self.workflow_version = event.workflow_version
                given_back = open_rows_back(self.run, self.tokens, self.waits, self.queued)
                self.tokens, self.waits, self.queued = {}, set(), {}
                return [*given_back, self.entry()]
            case RunFailed():
                self.error = event.error.message
                return self._ended()
            case RunCompleted() | RunCancelled():
                return self._ended()
            case HookCreated():
                self.tokens[event.call] = event.token
                return [TakeKey(token_key(event.token), str(HookPlace(self.run, event.call)))]
            case HookDisposed():
                token = self.tokens.pop(event.call, None)
                holder = str(HookPlace(self.run, event.call))
                return [] if token is None else [GiveKey(token_key(token), holder, missing_ok=True)]
            case WaitCreated() | WaitCompleted() | WaitCancelled():
                return [] if self.legacy else self._wait(event)
            case (
                StepCreated()
                | StepStarted()
                | StepRetrying()
                | StepCompleted()
                | StepFailed()
                | StepCancelled()
            ):
                return [] if self.legacy else self._step(event)
            case _:
                assert_never(event)

    def _ended(self) -> list[SideRow]:
        return [*end_rows(self.run, self.tokens, self.waits, self.queued), self.entry()]

    def _wait(self, event: WaitCreated | WaitCompleted | WaitCancelled) -> list[SideRow]:
        key = due_key(self.run, event.call)
        if isinstance(event, WaitCreated):
            self.waits.add(event.call)
            return [SetDue(key, event.until)]
        self.waits.discard(event.call)
        return [ClearDue(key, missing_ok=True)]

    def _step(
        self,
        event: StepCreated | StepStarted | StepRetrying | StepCompleted | StepFailed | StepCancelled,
    ) -> list[SideRow]:
        call, key = event.call, ready_key(self.run, event.call)
        if isinstance(event, StepCreated):
            if event.queue is None:
                return []
            self.queued[call] = event.queue
            return [PutReady(event.queue, key, ready_data(self.run, call, 1))]
        queue = self.queued.get(call)
        if queue is None:
            return []
        match event:
            case StepStarted():
                return [PutReady(queue, key, ready_data(self.run, call, event.attempt + 1))]
            case StepRetrying():
                data = ready_data(self.run, call, event.attempt + 1)
                return [PutReady(queue, key, data, at=event.retry_after)]
            case StepCompleted() | StepFailed() | StepCancelled():
                del self.queued[call]
                return [ClearReady(queue, key, missing_ok=True)]
            case _:
                assert_never(event)


_MATTERING = {name for name, model in MODELS.items() if model is RunCreated or model in Mattering.__args__}


_LARGE_FIELDS = ("input", "output", "to")


class RunRows:
    """For `import_lines(log, lines, RunRows())`; one for each import."""

    def __init__(self, codec: Codec | None = None) -> None:
        self._decoder = RegistryDecoder(register_run_events(Registry()), codec or Codec())
        self._open: dict[tuple[str, str], _Open] = {}
        self._large: dict[tuple[str, bytes], RunEvent] = {}

    def __call__(self, row: StoredRow) -> Sequence[SideRow]:
        """The rows that an event of the log moves."""
        if row.stream_type != STREAM_TYPE or row.type not in _MATTERING:
            return []
        name, spec = (row.tenant, row.stream_id), row.spec_version or SPEC_VERSION_LEGACY
        if row.version > 1 and name not in self._open:
            return []  # it has ended
        event = self._event(row)
        if isinstance(event, RunCreated):
            run = self._open[name] = _Open(
                row.stream_id,
                is_legacy(spec),
                event.workflow,
                event.workflow_version,
                event.parent,
                event.attributes,
            )
            key, label = fence_key(run.run), label_of(run.workflow, run.workflow_version, spec)
            return [OpenFence(key, label), Wake(key), run.entry()]
        if not isinstance(event, Mattering) or name not in self._open:
            return []
        rows = self._open[name].follow(event)
        if isinstance(event, RunCompleted | RunFailed | RunCancelled):
            del self._open[name]
        return rows

    def _event(self, row: StoredRow) -> RunEvent:
        """The event; one whose payload came before, with another event, without what was large in it."""
        if row.blob is None:
            return run_event(Recorded(row, self._decoder))
        name = (row.tenant, row.blob)
        if row.data is not None:
            event = run_event(Recorded(row, self._decoder))
            slim = dict.fromkeys(field for field in _LARGE_FIELDS if field in type(event).model_fields)
            self._large[name] = event.model_copy(update=slim)
            return event
        if name not in self._large:
            raise PayloadMissing(f"The payload of the {row.type} at position {row.position} is missing.")
        return self._large[name]

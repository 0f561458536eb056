"""The log as plain lists: what the state machine holds a backend against.

It is written from the words of the contract, without a look at the reference rules, so that a mistake in them shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from headwater.events.envelope import Stream
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    NeedReady,
    OpenFence,
    PutEntry,
    PutReady,
    PutState,
    SetDue,
    SideRow,
    TakeKey,
    Trust,
    Wake,
    WithdrawReady,
)


class Told(NamedTuple):
    """An event of a call: its id and what it says."""

    id: UUID
    fact: int


class Ask(NamedTuple):
    """One write of a call."""

    stream: Stream
    events: tuple[Told, ...]
    expect: int
    rows: tuple[SideRow, ...]
    skip: bool


class Entry(NamedTuple):
    """An event in the log; its position is its place in the list."""

    stream: Stream
    version: int
    told: Told


@dataclass
class Fenced:
    """A fence, in the order of the port's columns."""

    epoch: int = 0
    holder: str | None = None
    wakes: int = 0
    seen: int = 0
    label: str = ""
    trial: int = 0
    deaths: int = 0

    def is_free(self, *, suspect: bool) -> bool:
        return self.holder is None and self.wakes > self.seen and (self.trial > 0) == suspect


@dataclass
class Ready:
    """A ready row; all are due."""

    claim: int = 0
    holder: str | None = None


Answer = str | list[tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]]


@dataclass
class Model:
    """One tenant's log. `append` answers with the name of the error, or positions, versions and known of each write."""

    log: list[Entry] = field(default_factory=list[Entry])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    fences: dict[str, Fenced] = field(default_factory=dict[str, Fenced])
    due: set[str] = field(default_factory=set[str])
    ready: dict[str, Ready] = field(default_factory=dict[str, Ready])
    entries: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    workers: set[str] = field(default_factory=set[str])

    def version(self, stream: Stream) -> int:
        return sum(entry.stream == stream for entry in self.log)

    def append(self, call: list[Ask]) -> Answer:
        refusal = self._ids(call)
        if refusal:
            return refusal
        events = [told for ask in call for told in ask.events]
        if events and all(self._position(told) is not None for told in events):
            return [self._answer(ask, set()) for ask in call]
        refusal = self._guards(call) or self._versions(call)
        if refusal:
            return refusal
        new: set[UUID] = set()
        for ask in call:
            for told in ask.events:
                if self._position(told) is None:
                    new.add(told.id)
                    self.log.append(Entry(ask.stream, self.version(ask.stream) + 1, told))
            for row in ask.rows:
                self._apply(row)
        return [self._answer(ask, new) for ask in call]

    def _position(self, told: Told) -> int | None:
        return next((n for n, entry in enumerate(self.log, 1) if entry.told.id == told.id), None)

    def _answer(self, ask: Ask, new: set[UUID]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]:
        places = [self._position(told) or 0 for told in ask.events]
        versions = [self.log[place - 1].version for place in places]
        return tuple(places), tuple(versions), tuple(told.id not in new for told in ask.events)

    def _ids(self, call: list[Ask]) -> str | None:
        known = new = 0
        skipping = True
        for ask in call:
            for told in ask.events:
                place = self._position(told)
                if place is None:
                    new += 1
                    continue
                known += 1
                skipping = skipping and ask.skip
                there = self.log[place - 1]
                if (there.stream, there.told) != (ask.stream, told):
                    return "event_id_reused"
        return "mixed_ids" if known and new and not skipping else None

    def _guards(self, call: list[Ask]) -> str | None:
        return next(filter(None, (self._guard(row) for ask in call for row in ask.rows)), None)

    def _guard(self, row: SideRow) -> str | None:  # noqa: PLR0911 - one for each kind
        match row:
            case Fence(key, epoch):
                return None if key in self.fences and self.fences[key].epoch == epoch else "fence_lost"
            case Wake(key, True):
                return None if key in self.fences else "fence_lost"
            case TakeKey(key, _):
                return "key_taken" if key in self.keys else None
            case NeedKey(key, holder) | GiveKey(key, holder, False):
                return None if self.keys.get(key) == holder else "key_not_held"
            case ClearDue(key, False):
                return None if key in self.due else "row_gone"
            case ClearReady(_, key, False, claim):
                return None if self._is_ready(key, claim) else "row_gone"
            case PutReady(_, key, claim=claim) if claim is not None:
                return None if self._is_ready(key, claim) else "row_gone"
            case _:
                return None

    def _is_ready(self, key: str, claim: int | None) -> bool:
        return key in self.ready and (claim is None or self.ready[key].claim == claim)

    def _versions(self, call: list[Ask]) -> str | None:
        at = {ask.stream: self.version(ask.stream) for ask in call}
        for ask in call:
            new = sum(self._position(told) is None for told in ask.events)
            if ask.expect >= 0 and (new or not ask.events) and at[ask.stream] != ask.expect:
                return "wrong_version"
            at[ask.stream] += new
        return None

    def _apply(self, row: SideRow) -> None:  # noqa: PLR0912 - one for each kind
        match row:
            case TakeKey(key, holder):
                self.keys[key] = holder
            case GiveKey(key, holder):
                if self.keys.get(key) == holder:
                    del self.keys[key]
            case OpenFence(key, label, owner):
                self.fences.setdefault(key, Fenced(int(owner is not None), owner, label=label))
            case CloseFence(key):
                self.fences.pop(key, None)
            case Wake(key):
                if key in self.fences:
                    self.fences[key].wakes += 1
            case Trust(key):
                if key in self.fences:
                    self.fences[key].trial = self.fences[key].deaths = 0
            case SetDue(key):
                self.due.add(key)
            case ClearDue(key):
                self.due.discard(key)
            case PutReady(_, key):
                self.ready.setdefault(key, Ready()).holder = None
            case ClearReady(_, key, _, claim):
                if self._is_ready(key, claim):
                    del self.ready[key]
            case WithdrawReady(_, key):
                if key in self.ready and self.ready[key].holder is None:
                    del self.ready[key]
            case PutEntry(_, key, label, status):
                self.entries[key] = label, status
            case Fence() | NeedKey() | NeedReady() | PutState():
                pass  # states are no part of this model: see `states`

    # Who owns what

    def may_take(self, worker: str, keys: set[str], *, suspects: bool) -> bool:
        """Whether these are what a worker may get; of suspects the model does not know which wait longest."""
        free = {key for key, fence in self.fences.items() if fence.is_free(suspect=suspects)}
        if worker not in self.workers or not free:
            return not keys
        if not suspects:
            return keys == free
        trials = {self.fences[key].trial for key in keys}
        same = {key for key in free if self.fences[key].trial in trials}
        return len(trials) == 1 and keys <= same and len(keys) == min(*trials, len(same))

    def take(self, worker: str, key: str) -> Fenced:
        fence = self.fences[key]
        fence.epoch, fence.holder, fence.seen = fence.epoch + 1, worker, fence.wakes
        return fence

    def woken(self, worker: str) -> dict[str, tuple[int, int]]:
        """Epochs and wakes."""
        found = {k: f for k, f in self.fences.items() if f.holder == worker and f.wakes > f.seen}
        for fence in found.values():
            fence.seen = fence.wakes
        return {key: (fence.epoch, fence.wakes) for key, fence in found.items()}

    def take_ready(self, worker: str) -> dict[str, int]:
        """Claims."""
        free = {k: row for k, row in self.ready.items() if row.holder is None and worker in self.workers}
        for row in free.values():
            row.claim, row.holder = row.claim + 1, worker
        return {key: row.claim for key, row in free.items()}

    def sweep(self, dead: set[str], left: set[str]) -> tuple[list[str], int, int]:
        gone = self.workers & (dead | left)
        self.workers -= gone
        lost = [f for f in self.fences.values() if f.holder is not None and f.holder not in self.workers]
        count = {holder: sum(f.holder == holder for f in lost) for holder in gone - left}
        for fence in lost:
            if fence.holder in count:
                size = min(count[fence.holder], fence.trial or count[fence.holder])
                fence.deaths += fence.trial == 1
                fence.trial = -(-size // 2)
            fence.epoch, fence.holder, fence.wakes = fence.epoch + 1, None, fence.wakes + 1
        rows = [r for r in self.ready.values() if r.holder is not None and r.holder not in self.workers]
        for row in rows:
            row.holder = None
        return sorted(gone), len(lost), len(rows)

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
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
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


Answer = str | list[tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]]


@dataclass
class Model:
    """One tenant's log. `append` answers with the name of the error, or positions, versions and known of each write."""

    log: list[Entry] = field(default_factory=list[Entry])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    fences: dict[str, list[int]] = field(default_factory=dict[str, list[int]])  # epoch, wakes
    due: set[str] = field(default_factory=set[str])
    ready: set[str] = field(default_factory=set[str])

    def version(self, stream: Stream) -> int:
        return sum(entry.stream == stream for entry in self.log)

    def append(self, call: list[Ask]) -> Answer:
        refusal = self._ids(call)
        if refusal:
            return refusal
        if not any(self._position(told) is None for ask in call for told in ask.events):
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

    def _guard(self, row: SideRow) -> str | None:
        match row:
            case Fence(key, epoch):
                return None if key in self.fences and self.fences[key][0] == epoch else "fence_lost"
            case TakeKey(key, _):
                return "key_taken" if key in self.keys else None
            case NeedKey(key, holder) | GiveKey(key, holder, False):
                return None if self.keys.get(key) == holder else "key_not_held"
            case ClearDue(key, False):
                return None if key in self.due else "row_gone"
            case ClearReady(_, key, False):
                return None if key in self.ready else "row_gone"
            case _:
                return None

    def _versions(self, call: list[Ask]) -> str | None:
        at = {ask.stream: self.version(ask.stream) for ask in call}
        for ask in call:
            new = sum(self._position(told) is None for told in ask.events)
            if ask.expect >= 0 and (new or not ask.events) and at[ask.stream] != ask.expect:
                return "wrong_version"
            at[ask.stream] += new
        return None

    def _apply(self, row: SideRow) -> None:
        match row:
            case TakeKey(key, holder):
                self.keys[key] = holder
            case GiveKey(key, holder):
                if self.keys.get(key) == holder:
                    del self.keys[key]
            case OpenFence(key):
                self.fences.setdefault(key, [0, 0])
            case CloseFence(key):
                self.fences.pop(key, None)
            case Wake(key):
                if key in self.fences:
                    self.fences[key][1] += 1
            case SetDue(key):
                self.due.add(key)
            case ClearDue(key):
                self.due.discard(key)
            case PutReady(_, key):
                self.ready.add(key)
            case ClearReady(_, key):
                self.ready.discard(key)
            case Fence() | NeedKey():
                pass

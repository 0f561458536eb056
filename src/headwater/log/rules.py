"""How a batch is judged: the one reference for every backend, and the code that memory and SQLite run.

Promise. Calls are judged in order, each against what the earlier ones left. For each call, under the shard's lock:

1. Ids first. Events whose ids are known with the same stream and digest are *known*. A call of known events only
   returns their first positions and writes nothing, whatever it expects now: it is a retry. An id with another
   stream or digest is `EventIdReused`. Known and new mixed is `MixedIds`, unless each write that has known events
   says to skip them.
2. Then expectations and guards: fences, keys, due and ready rows, stream versions. The first that fails is the
   call's outcome.
3. Only then does the call take effect: positions follow the tail without a gap, versions follow the stream, the
   chain is extended, side rows change.

Why it is right. A refused call changes nothing, since effects come after the last check. Ids are looked up before
expectations because a retry after an unknown outcome must find its own first write, which has moved the version it
expected. Positions are gapless and in commit order because they are given here, under a lock that is held until
the transaction has committed, and given to accepted calls only.

`recorded_at` is one reading of the database's clock for the batch, and never before the previous event's.

Rejected: giving positions from a sequence (a refused or rolled back call leaves a gap, and a later position may commit
first, so that a reader's cursor passes events it has not seen).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from headwater.errors import (
    EventIdReused,
    FenceLost,
    HeadwaterError,
    KeyNotHeld,
    KeyTaken,
    MixedIds,
    RowGone,
    WrongVersion,
)
from headwater.events.digest import link
from headwater.events.envelope import EventRow, StoredRow, Stream
from headwater.log.port import Call, Outcome, Placed, PreparedWrite
from headwater.log.side import (
    ClearDue,
    ClearReady,
    Fence,
    GiveKey,
    NeedKey,
    NeedReady,
    PutReady,
    SideRow,
    TakeKey,
    Wake,
)


class Known(NamedTuple):
    """Where an event id is in the log."""

    position: int
    version: int
    stream: Stream
    digest: bytes


class View(Protocol):
    """What the judge must know of the log, read under the lock."""

    def known(self, tenant: str, ids: Iterable[UUID]) -> Mapping[UUID, Known]: ...
    def version(self, stream: Stream) -> int: ...
    def epoch(self, tenant: str, key: str) -> int | None: ...
    def holder(self, tenant: str, key: str) -> str | None: ...
    def is_due(self, tenant: str, key: str) -> bool: ...
    def claim_of(self, tenant: str, queue: str, key: str) -> int | None: ...


class Tail(NamedTuple):
    """The end of a shard."""

    position: int
    chain: bytes
    recorded_at: int


@dataclass(slots=True)
class Judgement:
    """What became of a batch, and what is to be written."""

    tail: Tail
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    rows: list[StoredRow] = field(default_factory=list[StoredRow])
    side: list[tuple[str, SideRow]] = field(default_factory=list[tuple[str, SideRow]])


def judge(calls: Sequence[Call], view: View, tail: Tail, now_us: int) -> Judgement:
    """Judge a batch against the log as it is under the lock."""
    judgement = Judgement(Tail(tail.position, tail.chain, max(now_us, tail.recorded_at)))
    versions: dict[Stream, int] = {}
    for call in calls:
        known = view.known(call.tenant, (row.event_id for write in call.writes for row in write.rows))
        judgement.outcomes.append(
            (_judge_ids(call, known) if known else None)
            or _refuse_guards(call, view)
            or _refuse_versions(call, known, view, versions)
            or _accept(call, known, versions, judgement)
        )
    return judgement


def _judge_ids(call: Call, known: Mapping[UUID, Known]) -> Outcome | None:
    return _refuse_ids(call, known) or _all_known(call, known)


def _refuse_ids(call: Call, known: Mapping[UUID, Known]) -> HeadwaterError | None:
    new = 0
    skips = True
    for write in call.writes:
        for row in write.rows:
            there = known.get(row.event_id)
            if there is None:
                new += 1
            elif there.stream != write.stream or there.digest != row.digest:
                return EventIdReused(row.event_id, there.position)
            else:
                skips = skips and write.skip_known
    return None if skips or not new else MixedIds(len(known), new)


def _all_known(call: Call, known: Mapping[UUID, Known]) -> Placed | None:
    places = [known.get(row.event_id) for write in call.writes for row in write.rows]
    there = [place for place in places if place is not None]
    if len(there) < len(places):
        return None
    return Placed([p.position for p in there], [p.version for p in there], [True] * len(there), 0)


def _refuse_guards(call: Call, view: View) -> HeadwaterError | None:
    for write in call.writes:
        for row in write.side:
            error = _refuse_guard(row, call.tenant, view)
            if error:
                return error
    return None


def _refuse_guard(row: SideRow, tenant: str, view: View) -> HeadwaterError | None:  # noqa: PLR0911 - one for each kind
    match row:
        case Fence(key, epoch):
            actual = view.epoch(tenant, key)
            return None if actual == epoch else FenceLost(key, epoch, actual)
        case Wake(key, True):
            return None if view.epoch(tenant, key) is not None else FenceLost(key, None, None)
        case TakeKey(key, _):
            holder = view.holder(tenant, key)
            return None if holder is None else KeyTaken(key, holder)
        case NeedKey(key, expected) | GiveKey(key, expected, False):
            holder = view.holder(tenant, key)
            return None if holder == expected else KeyNotHeld(key, expected, holder)
        case ClearDue(key, False):
            return None if view.is_due(tenant, key) else RowGone("due", key)
        case ClearReady(queue, key, False, claim):
            there = view.claim_of(tenant, queue, key)
            return (
                None if there is not None and claim in {None, there} else RowGone("ready", f"{queue}/{key}")
            )
        case PutReady(queue, key, claim=int(claim)) | NeedReady(queue, key, claim):
            there = view.claim_of(tenant, queue, key)
            return None if there == claim else RowGone("ready", f"{queue}/{key}")
        case _:
            return None


def _refuse_versions(
    call: Call, known: Mapping[UUID, Known], view: View, versions: dict[Stream, int]
) -> HeadwaterError | None:
    grown: dict[Stream, int] = {}
    for write in call.writes:
        stream = write.stream
        if stream not in versions:
            versions[stream] = view.version(stream)
        new = _count_new(write, known)
        actual = versions[stream] + grown.get(stream, 0)
        if write.expect >= 0 and actual != write.expect and (new or not write.rows):
            return WrongVersion(stream, write.expect, actual)
        grown[stream] = grown.get(stream, 0) + new
    return None


def _count_new(write: PreparedWrite, known: Mapping[UUID, Known]) -> int:
    return sum(row.event_id not in known for row in write.rows) if known else len(write.rows)


def _accept(
    call: Call, known: Mapping[UUID, Known], versions: dict[Stream, int], judgement: Judgement
) -> Placed:
    position, chain, recorded_at = judgement.tail
    placed = Placed([], [], [], recorded_at)
    for write in call.writes:
        version = versions[write.stream]
        for row in write.rows:
            there = known.get(row.event_id) if known else None
            if there is not None:
                placed.positions.append(there.position)
                placed.versions.append(there.version)
            else:
                position += 1
                version += 1
                chain = link(chain, position, version, recorded_at, row.digest)
                judgement.rows.append(_stored(position, version, recorded_at, chain, write.stream, row))
                placed.positions.append(position)
                placed.versions.append(version)
            placed.known.append(there is not None)
        versions[write.stream] = version
        judgement.side += [(call.tenant, row) for row in write.side]
    judgement.tail = Tail(position, chain, recorded_at)
    return placed


def _stored(
    position: int, version: int, recorded_at: int, chain: bytes, stream: Stream, row: EventRow
) -> StoredRow:
    """The columns of an event, among which its place is put where `StoredRow` has it."""
    place = (position, stream.tenant, stream.type, stream.id, version)
    return StoredRow._make((*place, *row[:5], recorded_at, *row[5:], chain))

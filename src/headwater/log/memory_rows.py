"""What a log in memory holds, and what an accepted call does to it; also the judge's view of it (see `rules`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from headwater.events.clock import to_us
from headwater.events.digest import GENESIS
from headwater.events.envelope import StoredRow, Stream
from headwater.log import rules
from headwater.log.ownership import EntryRow, WorkerRow
from headwater.log.port import DueRow, Query, ReadyRow, SnapshotRow
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


class KeptStates(Protocol):
    """Where this log's states are, for those that go with an append."""

    def put(self, row: PutState, position: int) -> None: ...


@dataclass(slots=True)
class HeldFence:
    """A fence, and who holds it."""

    epoch: int = 0
    holder: str | None = None
    wakes: int = 0
    seen: int = 0
    label: str = ""
    trial: int = 0
    deaths: int = 0
    woken_at: int = 0


@dataclass(slots=True)
class Rows:
    """Everything a log holds; also the judge's view of it."""

    events: list[StoredRow] = field(default_factory=list[StoredRow])
    streams: dict[Stream, list[StoredRow]] = field(default_factory=dict[Stream, list[StoredRow]])
    ids: dict[tuple[str, UUID], StoredRow] = field(default_factory=dict[tuple[str, UUID], StoredRow])
    blobs: dict[tuple[str, bytes], bytes] = field(default_factory=dict[tuple[str, bytes], bytes])
    held: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    fenced: dict[tuple[str, str], HeldFence] = field(default_factory=dict[tuple[str, str], HeldFence])
    due: dict[tuple[str, str], DueRow] = field(default_factory=dict[tuple[str, str], DueRow])
    ready: dict[tuple[str, str, str], ReadyRow] = field(default_factory=dict[tuple[str, str, str], ReadyRow])
    entries: dict[tuple[str, str, str], EntryRow] = field(
        default_factory=dict[tuple[str, str, str], EntryRow]
    )
    workers: dict[str, WorkerRow] = field(default_factory=dict[str, WorkerRow])
    snapshots: list[SnapshotRow] = field(default_factory=list[SnapshotRow])

    def copy(self) -> Rows:
        return Rows(
            [*self.events],
            {stream: [*rows] for stream, rows in self.streams.items()},
            {**self.ids},
            {**self.blobs},
            {**self.held},
            {name: replace(fence) for name, fence in self.fenced.items()},
            {**self.due},
            {**self.ready},
            {**self.entries},
            {**self.workers},
            [*self.snapshots],
        )

    def known(self, tenant: str, ids: Iterable[UUID]) -> Mapping[UUID, rules.Known]:
        there = ((id, self.ids.get((tenant, id))) for id in ids)
        return {
            id: rules.Known(row.position, row.version, stream_of(row), row.digest) for id, row in there if row
        }

    def version(self, stream: Stream) -> int:
        return len(self.streams.get(stream, ()))

    def epoch(self, tenant: str, key: str) -> int | None:
        fence = self.fenced.get((tenant, key))
        return fence.epoch if fence else None

    def holder(self, tenant: str, key: str) -> str | None:
        return self.held.get((tenant, key))

    def is_due(self, tenant: str, key: str) -> bool:
        return (tenant, key) in self.due

    def claim_of(self, tenant: str, queue: str, key: str) -> int | None:
        row = self.ready.get((tenant, queue, key))
        return row.claim if row else None

    def tail(self) -> rules.Tail:
        if not self.events:
            return rules.Tail(0, GENESIS, 0)
        last = self.events[-1]
        return rules.Tail(last.position, last.chain, last.recorded_at)

    def add(self, row: StoredRow) -> None:
        self.events.append(row)
        self.streams.setdefault(stream_of(row), []).append(row)
        self.ids[
            row.tenant, UUID(bytes=row.event_id) if isinstance(row.event_id, bytes) else row.event_id
        ] = row

    def apply(self, tenant: str, row: SideRow, now_us: int) -> None:  # noqa: PLR0912 - one for each kind
        match row:
            case Fence() | NeedKey() | NeedReady() | PutState():  # the commonest first
                pass
            case TakeKey(key, holder):
                self.held[tenant, key] = holder
            case GiveKey(key, holder):
                if self.held.get((tenant, key)) == holder:
                    del self.held[tenant, key]
            case OpenFence(key, label, owner):
                self.fenced.setdefault((tenant, key), HeldFence(1 if owner else 0, owner, label=label))
            case CloseFence(key):
                self.fenced.pop((tenant, key), None)
            case Wake(key):
                fence = self.fenced.get((tenant, key))
                if fence:
                    wake(fence, now_us)
            case Trust(key):
                fence = self.fenced.get((tenant, key))
                if fence:
                    fence.trial = fence.deaths = 0
            case SetDue(key, at, data):
                self.due[tenant, key] = DueRow(tenant, key, to_us(at), data)
            case ClearDue(key):
                self.due.pop((tenant, key), None)
            case PutReady(queue, key, data, priority, at):
                when = now_us if at is None else to_us(at)
                claim = self.claim_of(tenant, queue, key) or 0
                self.ready[tenant, queue, key] = ReadyRow(
                    tenant, queue, key, priority, when, data, None, claim
                )
            case ClearReady(queue, key, _, claim):
                if claim in {None, self.claim_of(tenant, queue, key)}:
                    self.ready.pop((tenant, queue, key), None)
            case WithdrawReady(queue, key):
                there = self.ready.get((tenant, queue, key))
                if there and there.holder is None:
                    del self.ready[tenant, queue, key]
            case PutEntry(name, key, label, status, data):
                entry = self.entries.get((tenant, name, key))
                first = entry.at if entry else now_us
                self.entries[tenant, name, key] = EntryRow(tenant, name, key, label, status, first, data)


def wake(fence: HeldFence, now_us: int) -> None:
    if fence.wakes == fence.seen:
        fence.woken_at = now_us
    fence.wakes += 1


def stream_of(row: StoredRow) -> Stream:
    return Stream(row.stream_type, row.stream_id, row.tenant)


def matches(row: StoredRow, query: Query) -> bool:
    return (
        query.tenant in (None, row.tenant)
        and (not query.stream_types or row.stream_type in query.stream_types)
        and (not query.types or row.type in query.types)
        and query.run_id in (None, row.run_id)
        and (query.correlation_id is None or query.correlation_id == (row.correlation_id or _own_id(row)))
    )


def _own_id(row: StoredRow) -> str:
    return str(UUID(bytes=row.event_id) if isinstance(row.event_id, bytes) else row.event_id)


def in_order(row: ReadyRow) -> tuple[int, int, str, str]:
    return row.priority, row.at, row.tenant, row.key

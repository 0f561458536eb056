"""The log in memory: for tests, notebooks and simulation. It is gone with the process.

It runs the reference rules on plain lists and dicts. Nothing here awaits between reading and writing, so the event
loop is its lock, and every read sees a whole prefix.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from headwater.errors import NotSupported, Refused, Trouble
from headwater.events.clock import Clock, SystemClock
from headwater.events.digest import GENESIS
from headwater.events.envelope import StoredRow, Stream
from headwater.log import rules
from headwater.log.memory_rows import KeptStates, Rows, in_order, matches, wake
from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import (
    SCHEMA_VERSION,
    Call,
    Claimed,
    DueRow,
    FenceRow,
    HeldKey,
    LogInfo,
    Outcome,
    Page,
    Place,
    Query,
    ReadyRow,
    RebuildSide,
    Release,
    Restored,
    SnapshotRow,
    Transaction,
)
from headwater.log.side import (
    PutState,
    SideRow,
)

_recorded_at = attrgetter("recorded_at")


class _NoHints:
    """One process, which the log wakes by itself."""

    def announce(self, shard: int, position: int) -> None:
        pass

    async def wait(self, timeout: float) -> None:
        await asyncio.sleep(timeout)


class MemoryBackend:
    """A log that lives as long as this object: opening it again finds what was written."""

    name = "memory"
    apart = False

    def __init__(self, *, clock: Clock | None = None, incarnation: UUID | None = None) -> None:
        self._clock = clock or SystemClock()
        self._incarnation = incarnation or uuid4()
        self._rows = Rows()
        self.hints = _NoHints()
        self.beside: dict[str, object] = {}
        """What other parts keep beside this log, for as long as it lives."""
        self.states: KeptStates | None = None

    async def open(self) -> LogInfo:
        return LogInfo(self._incarnation, self.name, SCHEMA_VERSION)

    async def close(self) -> None:
        pass

    async def now_us(self) -> int:
        return self._clock.now_us()

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        judgement = self._write(calls)
        self._put_states(judgement.side)
        return judgement.outcomes

    def _write(self, calls: Sequence[Call]) -> rules.Judgement:
        rows = self._rows
        now = self._clock.now_us()
        judgement = rules.judge(calls, rows, rows.tail(), now)
        for row in judgement.rows:
            rows.add(row)
        for tenant, side in judgement.side:
            rows.apply(tenant, side, judgement.tail.recorded_at)
        return judgement

    def _put_states(self, side: Sequence[tuple[str, SideRow]]) -> None:
        for _, row in side:
            if isinstance(row, PutState) and self.states is not None:
                self.states.put(row, self._rows.streams[row.stream][row.version - 1].position)

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        self._rows.blobs.update({(tenant, hash): data for hash, data in blobs})

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        found = ((hash, self._rows.blobs.get((tenant, hash))) for hash in hashes)
        return {hash: data for hash, data in found if data is not None}

    async def read(self, query: Query) -> Page:
        await asyncio.sleep(0)  # as every backend does: a long read must not hold up the others
        rows = self._stream(query, query.stream) if query.stream else self._log(query)
        found = rows.rows if query.payload else [row._replace(data=None, metadata=None) for row in rows.rows]
        return Page(found, rows.seen, rows.done)

    def _stream(self, query: Query, stream: Stream) -> Page:
        rows = self._rows.streams.get(stream, [])[max(query.from_version, 1) - 1 : query.to_version]
        if query.until is not None:
            rows = rows[: bisect_right(rows, query.until, key=_recorded_at)]
        if query.backward:
            rows = rows[::-1]
        return Page(rows[: query.limit], 0, len(rows) <= query.limit)

    def _log(self, query: Query) -> Page:
        events = self._rows.events
        end = len(events) if query.until is None else bisect_right(events, query.until, key=_recorded_at)
        end = end if query.to_position is None else min(end, query.to_position)
        found: list[StoredRow] = []
        seen = query.after
        for row in events[query.after : end]:
            if len(found) == query.limit:
                return Page(found, seen, False)
            seen = row.position
            if matches(row, query):
                found.append(row)
        return Page(found, seen, True)

    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        await asyncio.sleep(0)
        return [self._rows.streams.get(s, [])[version - 1 :][:limit] for s, version in starts]

    async def tail(self, shard: int) -> Place:
        tail = self._rows.tail()
        return Place(tail.position, tail.chain)

    async def place(self, shard: int, position: int) -> Place | None:
        if position == 0:
            return Place(0, GENESIS)
        events = self._rows.events
        return Place(position, events[position - 1].chain) if 0 < position <= len(events) else None

    async def version(self, stream: Stream) -> int:
        return self._rows.version(stream)

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        found = (self._rows.ids.get((tenant, id)) for id in ids)
        return [row for row in found if row]

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        claimed: list[Claimed] = []
        for key in keys:
            fence = self._rows.fenced.get((tenant, key))
            if fence:
                fence.epoch += 1
                fence.holder = holder
                claimed.append(Claimed(key, fence.epoch, fence.wakes))
        return claimed

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        return [self._release(row) for row in rows]

    def _release(self, row: Release) -> bool:
        fence = self._rows.fenced.get((row.tenant, row.key))
        if fence is None or (fence.epoch, fence.wakes) != (row.epoch, row.wakes):
            return False
        fence.holder, fence.seen = None, row.wakes
        return True

    # Who owns what

    async def enrol(self, worker: WorkerRow) -> None:
        now = self._clock.now_us()
        self._rows.workers[worker.id] = worker._replace(enrolled_at=now, beat_at=now)

    async def beat(self, worker: str, data: bytes) -> int | None:
        row = self._rows.workers.get(worker)
        if row is None:
            return None
        now = self._clock.now_us()
        self._rows.workers[worker] = row._replace(data=data, beat_at=now)
        return now

    async def workers(self) -> Sequence[WorkerRow]:
        return [row for _, row in sorted(self._rows.workers.items())]

    async def held(self) -> Mapping[str, int]:
        return Counter(fence.holder for fence in self._rows.fenced.values() if fence.holder is not None)

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        rows = self._rows.ready.values()
        return [HeldReady(r.tenant, r.queue, r.key, r.claim) for r in rows if r.holder == holder]

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        rows, now = self._rows, self._clock.now_us()
        expired = {row.id for row in rows.workers.values() if row.beat_at + row.lease_us <= now}
        died = (expired | set(dead)) & set(rows.workers)
        gone = died | set(left) & set(rows.workers)
        for worker in gone:
            del rows.workers[worker]
        lost = [f for f in rows.fenced.values() if f.holder is not None and f.holder not in rows.workers]
        died -= set(left)
        for fence in lost:
            if fence.holder in died:
                together = sum(other.holder == fence.holder for other in lost)
                before = fence.trial
                fence.trial = (min(together, before or together) + 1) // 2
                fence.deaths += before == 1
        freed = 0
        for fence in lost:
            fence.epoch, fence.holder = fence.epoch + 1, None
            wake(fence, now)
        for name, row in rows.ready.items():
            if row.holder is not None and row.holder not in rows.workers:
                rows.ready[name] = row._replace(holder=None)
                freed += 1
        return Swept(sorted(gone), len(lost), freed)

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        rows = self._rows
        if holder not in rows.workers:
            return []
        free = sorted(
            (fence.woken_at, tenant, key)
            for (tenant, key), fence in rows.fenced.items()
            if fence.holder is None
            and fence.wakes > fence.seen
            and fence.label in labels
            and tenant not in without
            and (fence.trial > 0) is suspects
        )
        trial = rows.fenced[free[0][1:]].trial if free else 0
        taken: list[Taken] = []
        for _, tenant, key in free:
            fence = rows.fenced[tenant, key]
            if len(taken) == (min(limit, trial) if suspects else limit):
                break
            if fence.trial == trial:
                fence.epoch, fence.holder, fence.seen = fence.epoch + 1, holder, fence.wakes
                taken.append(Taken(tenant, key, fence.label, fence.epoch, fence.wakes, trial, fence.deaths))
        return taken

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        found: list[Woken] = []
        for (tenant, key), fence in sorted(self._rows.fenced.items()):
            if fence.holder == holder and fence.wakes > fence.seen and len(found) < limit:
                fence.seen = fence.wakes
                found.append(Woken(tenant, key, fence.epoch, fence.wakes))
        return found

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        rows, now = self._rows.ready, self._clock.now_us()
        if holder not in self._rows.workers:
            return []
        taken: list[TakenReady] = []
        for queue, limit in sorted(wanted.items()):
            free = [r for r in rows.values() if r.queue == queue and r.holder is None and r.at <= now]
            for row in sorted(free, key=in_order)[:limit]:
                mine = row._replace(holder=holder, claim=row.claim + 1)
                rows[row.tenant, queue, row.key] = mine
                taken.append(TakenReady(row.tenant, queue, row.key, mine.claim, row.at, row.data))
        return taken

    async def entries(
        self,
        tenant: str | None,
        list: str,
        *,
        label: str | None = None,
        statuses: Sequence[str] = (),
        keys: Sequence[str] = (),
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> Sequence[EntryRow]:
        found = (
            row
            for row in self._rows.entries.values()
            if row.list == list
            and tenant in {None, row.tenant}
            and label in {None, row.label}
            and (not statuses or row.status in statuses)
            and (not keys or row.key in keys)
            and (before is None or (row.at, row.key) < before)
        )
        return sorted(found, key=lambda row: (row.at, row.key), reverse=True)[:limit]

    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]:
        held = sorted(HeldKey(t, key, holder) for (t, key), holder in self._rows.held.items())
        return [row for row in held if row.tenant == tenant and row.key.startswith(prefix)][:limit]

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        found = ((key, self._rows.fenced.get((tenant, key))) for key in sorted(set(keys)))
        return [
            FenceRow(tenant, key, f.epoch, f.holder, f.wakes, f.seen, f.label, f.trial, f.deaths)
            for key, f in found
            if f
        ]

    async def due(self, tenant: str | None, limit: int = 1000, *, by_now: bool = True) -> Sequence[DueRow]:
        now = self._clock.now_us()
        rows = [
            r for r in self._rows.due.values() if tenant in (None, r.tenant) and (r.at <= now or not by_now)
        ]
        return sorted(rows, key=lambda row: (row.at, row.tenant, row.key))[:limit]

    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]:
        rows = [r for r in self._rows.ready.values() if tenant in (None, r.tenant) and r.queue == queue]
        return sorted(rows, key=in_order)[:limit]

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        mine = (row.stream, row.name)
        same = [s for s in self._rows.snapshots if (s.stream, s.name) == mine and s.version != row.version]
        others = [s for s in self._rows.snapshots if (s.stream, s.name) != mine]
        self._rows.snapshots = others + sorted([*same, row], key=lambda s: s.version)[-keep:]

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        events = self._rows.streams.get(stream, [])
        newest = len(events) if to_version is None else min(to_version, len(events))
        fitting = [
            s
            for s in self._rows.snapshots
            if (s.stream, s.name, s.fold_version) == (stream, name, fold_version)
            and s.version <= newest
            and events[s.version - 1].chain == s.chain
        ]
        return max(fitting, key=lambda s: s.version, default=None)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        staged = _Staged()
        yield staged
        before = self._rows
        if len(staged.calls) > 1:
            self._rows = before.copy()
        side: list[tuple[str, SideRow]] = []
        for call in staged.calls:
            judgement = self._write([call])
            [outcome] = judgement.outcomes
            if isinstance(outcome, Exception):
                self._rows = before
                raise outcome
            side += judgement.side
        self._put_states(side)

    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None:
        raise NotSupported("The memory log has no database to share a transaction with.")

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int:
        if self._rows.events:
            raise Refused(f"This log holds {len(self._rows.events)} events. Import needs an empty one.")
        rows = Rows()
        async for part in source:
            rows.blobs.update(part.blobs)
            for row in part.rows:
                rows.add(row)
                for change in side(row) if side else ():
                    rows.apply(row.tenant, change, row.recorded_at)
        if self._rows.events:
            raise Trouble("Somebody appended to the log while it was being imported; nothing was imported.")
        self._rows, self._incarnation = rows, incarnation
        return len(rows.events)


class _Staged:
    """A transaction of a program without a database: appends only, applied when it ends."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @property
    def connection(self) -> Any:
        raise NotSupported("The memory log has no database to share a transaction with.")

    async def execute(self, sql: str, *args: Any) -> None:
        raise NotSupported("The memory log runs no SQL. Use SQLite or Postgres.")

    async def stage(self, call: Call) -> None:
        self.calls.append(call)

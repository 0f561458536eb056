"""Backends with a mistake in each: what the contract suite must be able to catch."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from headwater.errors import HeadwaterError
from headwater.events.envelope import StoredRow, Stream
from headwater.log import rules
from headwater.log.memory import MemoryBackend
from headwater.log.port import BatchUnknown, Call, Claimed, Outcome, Page, Placed, Query, Release, SnapshotRow
from headwater.log.side import Fence, SideRow, Wake


class GapsFromASequence(MemoryBackend):
    """Each call draws its position before it is judged, so a refused one leaves a gap."""

    lost = 0

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for call in calls:
            [outcome] = await super().append(shard, [call])
            if isinstance(outcome, HeadwaterError):
                self.lost += 1
            else:
                places = [position + self.lost for position in outcome.positions]
                outcome = outcome._replace(positions=places)
            outcomes.append(outcome)
        return outcomes

    async def read(self, query: Query) -> Page:
        page = await super().read(replace(query, after=max(query.after - self.lost, 0)))
        return Page(
            [row._replace(position=row.position + self.lost) for row in page.rows], page.seen, page.done
        )


class PositionsBeforeTheLock(MemoryBackend):
    """A position is drawn from a sequence, and the row is committed a moment later, when others may have been."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.turn = 0
        self.committed: list[StoredRow] = []

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        before = len(self._rows.events)
        outcomes = await super().append(shard, calls)
        mine = self._rows.events[before:]
        self.turn += 1
        for _ in range(0 if self.turn % 2 else 20):
            await asyncio.sleep(0)
        self.committed = sorted([*self.committed, *mine], key=lambda row: row.position)
        return outcomes

    async def read(self, query: Query) -> Page:
        if query.stream:
            return await super().read(query)
        rows = [row for row in self.committed if row.position > query.after][: query.limit]
        return Page(rows, rows[-1].position if rows else query.after, len(rows) < query.limit)

    async def tail(self, shard: int) -> Any:
        last = self.committed[-1].position if self.committed else 0
        return await super().place(shard, last)


class ExpectationsFirst(MemoryBackend):
    """Versions are compared before ids are looked up."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for call in calls:
            wrong = rules._refuse_versions(call, {}, self._rows, {})
            outcomes += [wrong] if wrong else await super().append(shard, [call])
        return outcomes


class Altered(MemoryBackend):
    """Calls are changed on their way in."""

    def alter(self, call: Call) -> Call:
        return call

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        return await super().append(shard, [self.alter(call) for call in calls])


def without(call: Call, kind: type[Any]) -> Call:
    writes = [w._replace(side=tuple(row for row in w.side if not isinstance(row, kind))) for w in call.writes]
    return call._replace(writes=tuple(writes))


class UncheckedFence(Altered):
    def alter(self, call: Call) -> Call:
        return without(call, Fence)


class UnlockedFence(MemoryBackend):
    """The fence is looked at, and something else may happen before the events are written."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for call in calls:
            lost = rules._refuse_guards(call, self._rows)
            for _ in range(3):
                await asyncio.sleep(0)
            outcomes += [lost] if lost else await super().append(shard, [without(call, Fence)])
        return outcomes


class LostWakes(Altered):
    """A wake mark that two rows of a call leave is counted once."""

    def alter(self, call: Call) -> Call:
        seen: set[SideRow] = set()
        writes = []
        for write in call.writes:
            rows = [
                row for row in write.side if not (isinstance(row, Wake) and (row in seen or seen.add(row)))
            ]
            writes.append(write._replace(side=tuple(rows)))
        return call._replace(writes=tuple(writes))


class ReleaseWhateverCame(MemoryBackend):
    """A release does not look whether there was a wake mark meanwhile."""

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        there = self._rows.fenced
        blind = [
            r._replace(wakes=there[r.tenant, r.key].wakes) if (r.tenant, r.key) in there else r for r in rows
        ]
        return await super().release(blind)


class SideRowsOfRefusedCalls(MemoryBackend):
    """Side rows are written as the call is gone through, and stay when it is refused."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes = await super().append(shard, calls)
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, HeadwaterError):
                for row in call.writes[0].side:
                    self._rows.apply(call.tenant, row, 0)
        return outcomes


class HalfACall(MemoryBackend):
    """Each write of a call is a transaction of its own."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for call in calls:
            parts = [
                (await super(HalfACall, self).append(shard, [call._replace(writes=(w,))]))[0]
                for w in call.writes
            ]
            errors = [part for part in parts if not isinstance(part, Placed)]
            placed = [part for part in parts if isinstance(part, Placed)]
            columns = zip(*placed, strict=True)
            joined = Placed._make([value for part in column for value in part] for column in columns)
            outcomes.append(errors[0] if errors else joined)
        return outcomes


class Forgetful(MemoryBackend):
    """Known ids are written again."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        self._rows.ids.clear()
        return await super().append(shard, calls)


class IdsOfEverybody(MemoryBackend):
    """Ids are unique in the log instead of in a tenant."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        known = self._rows.known

        def everybody(tenant: str, ids: Any) -> Any:
            ids = list(ids)
            tenants = {t for t, _ in self._rows.ids}
            return {id: found for t in tenants for id, found in known(t, ids).items()}

        self._rows = _with(self._rows, known=everybody)


def _with(rows: Any, **changes: Any) -> Any:
    class Changed(type(rows)):  # type: ignore[misc]
        pass

    for name, value in changes.items():
        setattr(Changed, name, staticmethod(value))
    return Changed(*[getattr(rows, name) for name in type(rows).__dataclass_fields__])


class CursorPastTheEnd(MemoryBackend):
    """A page says it has looked at everything there was, when it was full before that."""

    async def read(self, query: Query) -> Page:
        page = await super().read(query)
        return page if query.stream else page._replace(seen=len(self._rows.events))


class RepeatingCursor(MemoryBackend):
    """A page does not count the events that its filter left out at its end."""

    async def read(self, query: Query) -> Page:
        page = await super().read(query)
        return (
            page if query.stream else page._replace(seen=page.rows[-1].position if page.rows else query.after)
        )


class TimeGoesBack(MemoryBackend):
    """Recorded time is the clock's, whatever the event before says."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        before = len(self._rows.events)
        outcomes = await super().append(shard, calls)
        now = await self.now_us()
        chain = self._rows.events[before - 1].chain if before else bytes(32)
        for n, row in enumerate(self._rows.events[before:], before):
            chain = rules.link(chain, row.position, row.version, now, row.digest)
            self._rows.events[n] = row._replace(recorded_at=now, chain=chain)
        return outcomes


class LastIsLeftOut(MemoryBackend):
    """Reading until a time leaves out what was recorded at that very time."""

    async def read(self, query: Query) -> Page:
        return await super().read(query if query.until is None else replace(query, until=query.until - 1))


class SnapshotsAreTruth(MemoryBackend):
    """Whatever snapshot there is, is used."""

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        fitting = [
            s
            for s in self._rows.snapshots
            if (s.stream, s.name, s.fold_version) == (stream, name, fold_version)
        ]
        return fitting[-1] if fitting else None


class EverybodysRows(MemoryBackend):
    """A look-up by id crosses tenants."""

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return [row for (_, id), row in self._rows.ids.items() if id in ids]


class ClaimWithoutEpoch(MemoryBackend):
    """A claim by the holder's own name does not raise the epoch."""

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        claimed = await super().claim(tenant, keys, holder)
        for key in keys:
            fence = self._rows.fenced.get((tenant, key))
            if fence:
                fence.epoch = 1
        return [claim._replace(epoch=1) for claim in claimed]


class WritesTwiceWhenUnsure(MemoryBackend):
    """Loses the answer now and then, and forgets ids when it does."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.turn = 0

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        self.turn += 1
        outcomes = await super().append(shard, calls)
        if self.turn % 3 == 0:
            self._rows.ids.clear()
            raise BatchUnknown
        return outcomes


class KeepsHalfAnImport(MemoryBackend):
    """An import is written as it comes in."""

    async def restore(self, source: Any, incarnation: UUID, side: Any) -> int:
        async def seen() -> Any:
            async for part in source:
                yield part
                for row in part.rows:
                    self._rows.add(row)

        rows, self._rows.events = self._rows, []
        try:
            return await super().restore(seen(), incarnation, side)
        except HeadwaterError:
            self._rows = rows
            raise


class _Believed:
    """Hints that are remembered."""

    last = 0

    def announce(self, shard: int, position: int) -> None:
        self.last = max(self.last, position)

    async def wait(self, timeout: float) -> None:
        await asyncio.sleep(timeout)


class HintsAreTruth(MemoryBackend):
    """A reader takes the log to reach as far as a hint says, and goes on from there."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.hints = cast(Any, _Believed())

    async def read(self, query: Query) -> Page:
        page = await super().read(query)
        return page if query.stream else page._replace(seen=max(page.seen, cast(Any, self.hints).last))

    async def place(self, shard: int, position: int) -> Any:
        return await super().place(shard, min(position, len(self._rows.events)))


Fault = Callable[..., MemoryBackend]

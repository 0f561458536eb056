"""A process's way to the log's storage: a backend like any other, with weather."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

from headwater.errors import LogUnavailable, OutcomeUnknown, StorageFull, StorageRefused
from headwater.events.envelope import StoredRow, Stream
from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import (
    Backend,
    BatchRefused,
    BatchRetry,
    BatchUnknown,
    Call,
    Claimed,
    DueRow,
    FenceRow,
    HeldKey,
    LogInfo,
    Outcome,
    Page,
    Place,
    Placed,
    Query,
    ReadyRow,
    RebuildSide,
    Release,
    Restored,
    SnapshotRow,
    Transaction,
)
from headwater.testing.simulation.faults import Kind
from headwater.testing.simulation.hints import SimulatedHints
from headwater.testing.simulation.weather import Weather
from headwater.testing.simulation.wire import Attempts, Job, Wire

T = TypeVar("T")

_NOT_CARRIED_OUT: Final = {Kind.RETRY, Kind.UNKNOWN_BEFORE, Kind.FULL_ONCE}


class SimulatedBackend:
    """Another backend, through a wire and the weather."""

    name = "simulated"
    apart = True

    def __init__(
        self,
        inner: Backend,
        wire: Wire,
        weather: Weather,
        hints: SimulatedHints,
        attempts: Attempts,
        note: Callable[[str], None],
    ) -> None:
        self.inner, self._note = inner, note
        self._wire, self._weather, self._hints, self._attempts = wire, weather, hints, attempts

    async def open(self) -> LogInfo:
        return await self._wire.carry(self.inner.open)

    async def close(self) -> None:
        await self.inner.close()

    @property
    def hints(self) -> SimulatedHints:
        return self._hints

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        try:
            return await self._append(shard, calls)
        except (BatchRefused, BatchRetry, BatchUnknown) as error:
            self._note(f"{type(error).__name__} for {_name(calls)}")
            raise

    async def _append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        weather = self._weather
        if weather.has(Kind.UNAVAILABLE):
            await self._go_and_come_back()
            raise BatchRetry("The database cannot be reached.")
        if weather.has(Kind.REFUSE) and len(calls) > 1:
            await self._go_and_come_back()
            raise BatchRefused(StorageRefused())
        fate = weather.next_fate()
        kind = fate.kind if fate else None
        if weather.has(Kind.FULL) or kind is Kind.FULL_ONCE:
            await self._go_and_come_back()
            weather.refusals += 1
            raise BatchRefused(StorageFull(), everybody=True)
        if kind in {Kind.RETRY, Kind.UNKNOWN_BEFORE}:
            await self._go_and_come_back()
            raise BatchRetry if kind is Kind.RETRY else BatchUnknown
        attempt = self._attempts.begin(self, ids_of(calls))

        async def carried_out() -> Sequence[Outcome]:
            if not self._attempts.arrive(attempt):
                self._note(f"voided {_name(calls)}")
                raise BatchUnknown("It was voided by a later attempt.")
            outcomes = await self.inner.append(shard, calls)
            for call, outcome in zip(calls, outcomes, strict=True):
                if not isinstance(outcome, Placed):
                    self._attempts.refused.update(ids_of([call]))
            self._note("; ".join(_say(call, outcome) for call, outcome in zip(calls, outcomes, strict=True)))
            return outcomes

        if fate and kind is Kind.ZOMBIE:
            self._wire.send(carried_out, fate.amount)
            await self._go_and_come_back()
            raise BatchUnknown
        outcomes = await self._do(carried_out)
        if kind is Kind.UNKNOWN_AFTER:
            raise BatchUnknown
        return outcomes

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        return await self._answer("claimed", lambda: self.inner.claim(tenant, keys, holder))

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        return await self.ask(lambda: self.inner.release(rows))

    async def enrol(self, worker: WorkerRow) -> None:
        await self._answer("enrolled", lambda: self.inner.enrol(worker))

    async def beat(self, worker: str, data: bytes) -> int | None:
        return await self._answer("beat", lambda: self.inner.beat(worker, data))

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        return await self._answer("swept", lambda: self.inner.sweep(dead, left))

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        return await self._answer(
            "took", lambda: self.inner.take(holder, labels, limit, suspects=suspects, without=without)
        )

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        return await self._answer("woken", lambda: self.inner.woken(holder, limit))

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        return await self._answer("took", lambda: self.inner.take_ready(holder, wanted))

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        await self.ask(lambda: self.inner.put_blobs(tenant, blobs))

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        await self.ask(lambda: self.inner.save_snapshot(row, keep))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        await self.ask(self.inner.now_us)
        async with self.inner.transaction() as transaction:
            yield transaction

    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None:
        await self.inner.enlist(connection, calls)

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int:
        return await self.inner.restore(source, incarnation, side)

    # Reading

    async def now_us(self) -> int:
        return await self.ask(self.inner.now_us)

    async def read(self, query: Query) -> Page:
        return await self.ask(lambda: self.inner.read(query))

    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        return await self.ask(lambda: self.inner.read_streams(starts, limit))

    async def tail(self, shard: int) -> Place:
        return await self.ask(lambda: self.inner.tail(shard))

    async def place(self, shard: int, position: int) -> Place | None:
        return await self.ask(lambda: self.inner.place(shard, position))

    async def version(self, stream: Stream) -> int:
        return await self.ask(lambda: self.inner.version(stream))

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return await self.ask(lambda: self.inner.find(tenant, ids))

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self.ask(lambda: self.inner.get_blobs(tenant, hashes))

    async def workers(self) -> Sequence[WorkerRow]:
        return await self.ask(self.inner.workers)

    async def held(self) -> Mapping[str, int]:
        return await self.ask(self.inner.held)

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
        return await self.ask(
            lambda: self.inner.entries(
                tenant, list, label=label, statuses=statuses, keys=keys, before=before, limit=limit
            )
        )

    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]:
        return await self.ask(lambda: self.inner.keys(tenant, prefix, limit))

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        return await self.ask(lambda: self.inner.fences(tenant, keys))

    async def due(self, tenant: str | None, limit: int = 1000, *, by_now: bool = True) -> Sequence[DueRow]:
        return await self.ask(lambda: self.inner.due(tenant, limit, by_now=by_now))

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        return await self.ask(lambda: self.inner.held_ready(holder))

    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]:
        return await self.ask(lambda: self.inner.ready(tenant, queue, limit))

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        return await self.ask(lambda: self.inner.load_snapshot(stream, name, fold_version, to_version))

    # Ways

    async def _answer(self, what: str, job: Job[T]) -> T:
        """Ask for a change whose answer may be lost though it was made."""
        fate = self._weather.next_fate()
        answer = await self.ask(job)
        self._note(f"{what} {answer}")
        if fate:
            raise OutcomeUnknown
        return answer

    async def change(self, what: str, job: Job[T]) -> T:
        """The same for what is kept beside the log."""
        fate = self._weather.next_fate()
        if fate and fate.kind in _NOT_CARRIED_OUT:
            await self._lost(what)
        answer = await self.ask(job)
        self._note(f"{what}{', and the answer is lost' if fate else ''}")
        if fate:
            raise OutcomeUnknown
        return answer

    async def look(self, what: str, job: Job[T]) -> T:
        """Ask for what is kept beside the log: one question may fail, and those before and after it succeed."""
        if self._weather.fates and self._weather.fates[0].kind in _NOT_CARRIED_OUT:
            self._weather.next_fate()
            await self._lost(what)
        return await self.ask(job)

    async def _lost(self, what: str) -> NoReturn:
        await self._go_and_come_back()
        self._note(f"{what} is lost on its way")
        raise LogUnavailable

    async def ask(self, job: Job[T]) -> T:
        """Ask for something that changes nothing."""
        if self._weather.has(Kind.UNAVAILABLE):
            await self._go_and_come_back()
            raise LogUnavailable
        return await self._do(job)

    async def _do(self, job: Job[T]) -> T:
        return await self._wire.carry(job, slow=self._weather.has(Kind.SLOW))

    async def _go_and_come_back(self) -> None:
        await self._do(_nothing)


def ids_of(calls: Sequence[Call]) -> list[UUID]:
    return [row.event_id for call in calls for write in call.writes for row in write.rows]


def _name(calls: Sequence[Call]) -> str:
    return " ".join(map(str, ids_of(calls)))


def _say(call: Call, outcome: Outcome) -> str:
    if not isinstance(outcome, Placed):
        return f"{outcome.code} for {_name([call])}"
    known = " (known)" if any(outcome.known) else ""
    return f"positions {outcome.positions}{known} for {_name([call])}"


async def _nothing() -> None:
    pass

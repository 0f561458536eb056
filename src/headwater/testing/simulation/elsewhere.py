"""A backend whose calls run for real on another thread's loop, while the simulated world stands still.

A call is complete when it returns, however long it took, so the world sees no time pass and stays reproducible; the
wire before it decides when the answer becomes visible. When its process is gone, what was already sent is carried out
by `survivor`, as a server does that goes on without its client.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from headwater.errors import NotSupported
from headwater.events.envelope import StoredRow, Stream
from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import (
    Backend,
    Call,
    Claimed,
    DueRow,
    FenceRow,
    HeldKey,
    Hints,
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
from headwater.testing.simulation.loop import SimulationError

T = TypeVar("T")
_PATIENCE = 60.0


class RealLoop:
    """An ordinary loop in a thread."""

    def __init__(self) -> None:
        self.tell_time: Callable[[], Awaitable[None]] | None = None
        """Awaited before each call that looks at the clock."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="real calls", daemon=True)
        self._thread.start()

    def run_now(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what looks at the clock."""
        return self.run(self._timed(work))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(_PATIENCE)
        except TimeoutError:
            running.cancel()
            raise SimulationError(
                f"A real call did not end in {_PATIENCE:.0f} seconds: does it wait for another that is simulated?"
            ) from None

    async def _timed(self, work: Coroutine[Any, Any, T]) -> T:
        if self.tell_time is not None:
            await self.tell_time()
        return await work

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


class ElsewhereBackend:
    """Another backend, on a real loop."""

    name = "elsewhere"
    apart = True

    def __init__(self, real: RealLoop, mine: Backend, survivor: Callable[[], Backend]) -> None:
        self._real, self._mine, self._survivor = real, mine, survivor
        self._gone = False
        self._in_use: list[Any] = []

    def abandon(self) -> None:
        """The process is gone, and its connections with it."""
        self._gone = True
        for connection in self._in_use:
            self._real.run(_terminate(connection))
        self._real.run(self._mine.close())

    @property
    def _there(self) -> Backend:
        return self._survivor() if self._gone else self._mine

    @property
    def hints(self) -> Hints:
        return self._mine.hints

    async def open(self) -> LogInfo:
        return self._real.run(self._there.open())

    async def close(self) -> None:
        if not self._gone:
            self.abandon()

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        return self._real.run_now(self._there.append(shard, calls))

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        return self._real.run_now(self._there.claim(tenant, keys, holder))

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        return self._real.run_now(self._there.release(rows))

    async def enrol(self, worker: WorkerRow) -> None:
        self._real.run_now(self._there.enrol(worker))

    async def beat(self, worker: str, data: bytes) -> int | None:
        return self._real.run_now(self._there.beat(worker, data))

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        return self._real.run_now(self._there.sweep(dead, left))

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        return self._real.run_now(self._there.take(holder, labels, limit, suspects=suspects, without=without))

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        return self._real.run_now(self._there.woken(holder, limit))

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        return self._real.run_now(self._there.take_ready(holder, wanted))

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        self._real.run(self._there.put_blobs(tenant, blobs))

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        self._real.run(self._there.save_snapshot(row, keep))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        there = self._there.transaction()
        begun = self._real.run_now(_await(there.__aenter__()))
        self._in_use.append(begun.connection)
        try:
            try:
                yield _Transaction(self._real, begun)
            except BaseException as error:
                self._real.run_now(_await(there.__aexit__(type(error), error, error.__traceback__)))
                raise
            self._real.run_now(_await(there.__aexit__(None, None, None)))
        finally:
            self._in_use.remove(begun.connection)

    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None:
        self._real.run_now(self._there.enlist(connection, calls))

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int:
        raise NotSupported("A simulated program cannot import into a real database.")

    # Reading

    async def now_us(self) -> int:
        return self._real.run_now(self._there.now_us())

    async def read(self, query: Query) -> Page:
        return self._real.run(self._there.read(query))

    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        return self._real.run(self._there.read_streams(starts, limit))

    async def tail(self, shard: int) -> Place:
        return self._real.run(self._there.tail(shard))

    async def place(self, shard: int, position: int) -> Place | None:
        return self._real.run(self._there.place(shard, position))

    async def version(self, stream: Stream) -> int:
        return self._real.run(self._there.version(stream))

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return self._real.run(self._there.find(tenant, ids))

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._real.run(self._there.get_blobs(tenant, hashes))

    async def workers(self) -> Sequence[WorkerRow]:
        return self._real.run(self._there.workers())

    async def held(self) -> Mapping[str, int]:
        return self._real.run(self._there.held())

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
        return self._real.run(
            self._there.entries(
                tenant, list, label=label, statuses=statuses, keys=keys, before=before, limit=limit
            )
        )

    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]:
        return self._real.run(self._there.keys(tenant, prefix, limit))

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        return self._real.run(self._there.fences(tenant, keys))

    async def due(self, tenant: str | None, limit: int = 1000, *, by_now: bool = True) -> Sequence[DueRow]:
        return self._real.run_now(self._there.due(tenant, limit, by_now=by_now))

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        return self._real.run_now(self._there.held_ready(holder))

    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]:
        return self._real.run_now(self._there.ready(tenant, queue, limit))

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        return self._real.run(self._there.load_snapshot(stream, name, fold_version, to_version))


class _Transaction:
    def __init__(self, real: RealLoop, begun: Transaction) -> None:
        self._real, self._begun = real, begun

    @property
    def connection(self) -> Any:
        return self._begun.connection

    async def execute(self, sql: str, *args: Any) -> None:
        self._real.run_now(self._begun.execute(sql, *args))

    async def stage(self, call: Call) -> None:
        self._real.run_now(self._begun.stage(call))


async def _await(awaited: Awaitable[T]) -> T:
    return await awaited


async def _terminate(connection: Any) -> None:
    connection.terminate()

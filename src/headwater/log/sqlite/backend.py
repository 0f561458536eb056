"""The log in one SQLite file: the port's methods, and which connection does each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from headwater.errors import LogClosed, NotSupported
from headwater.events.clock import Clock, SystemClock
from headwater.events.envelope import StoredRow, Stream
from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import (
    DEFAULT_SHARD,
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
from headwater.log.sqlite import opening
from headwater.log.sqlite import read as reading
from headwater.log.sqlite.append import Appender
from headwater.log.sqlite.connections import Job
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.hints import FileHints
from headwater.log.sqlite.lanes import Lanes
from headwater.log.sqlite.owners import Owners
from headwater.log.sqlite.restore import restore
from headwater.log.sqlite.side import SideTables
from headwater.log.sqlite.statements import statements
from headwater.log.sqlite.transact import transact
from headwater.log.sqlite.transaction import KeptTransaction
from headwater.log.sqlite.trouble import explain_batch

T = TypeVar("T")
_INSERT_BLOB: Final = statements("append.sql")["insert_blob"]
_BIG_PAGE: Final = 1_000
_BIG_BATCH: Final = 1_000


class SqliteBackend:
    """A log in one file on this host, which several processes may have open.

    A new file becomes the log `incarnation`, or one of a new name. `migrate`: True lifts an older file to this code's
    schema, False not even makes a new one, None only makes new ones. `patience` is how long a write waits for other
    processes. `in_thread` has every job run in a thread (a simulator that answers executors itself wants that); left
    out, figures decide. `hint_sockets=False` has hints polled for.
    """

    name = "sqlite"
    apart = False

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        migrate: bool | None = None,
        incarnation: UUID | None = None,
        patience: float = 5.0,
        in_thread: bool | None = None,
        hint_sockets: bool = True,
    ) -> None:
        self.path = Path(path)
        self._clock = clock or SystemClock()
        self._migrate, self._incarnation = migrate, incarnation
        self._patience, self._in_thread, self._hint_sockets = patience, in_thread, hint_sockets
        self._open: Lanes | None = None

    async def open(self) -> LogInfo:
        """Open the file, making or lifting its schema as told; opening again asks only what log it is."""
        if self._open is None:
            opening.check_place(self.path)
            self._open = Lanes(
                self.path,
                self._clock,
                patience=self._patience,
                in_thread=self._in_thread,
                hint_sockets=self._hint_sockets,
            )
            try:
                incarnation = await self._open.writer.run(self._prepare, big=True)
            except BaseException:
                await self.close()
                raise
        else:
            incarnation = await self._read(opening.read_incarnation)
        return LogInfo(incarnation, self.name, SCHEMA_VERSION)

    async def close(self) -> None:
        if self._open is not None:
            lanes, self._open = self._open, None
            await lanes.close()

    def abandon(self) -> None:
        """Let go of the file as the death of the process would; for simulated crashes."""
        if self._open is not None:
            lanes, self._open = self._open, None
            lanes.abandon()

    @property
    def hints(self) -> FileHints:
        return self._lanes.hints

    async def now_us(self) -> int:
        return self._clock.now_us()

    # Writing

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        if shard != DEFAULT_SHARD:
            raise NotSupported(f"A SQLite log has one shard, {DEFAULT_SHARD}; {shard} was named.")
        lanes = self._lanes
        outcomes = await lanes.writer.run(
            lambda connection: lanes.appender.append(connection, calls),
            big=len(calls) + sum(len(call.writes[0].rows) for call in calls) > _BIG_BATCH,
            explain=explain_batch,
        )
        lanes.checkpoints.after_commit()
        return outcomes

    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        rows = [(tenant, hash, data) for hash, data in blobs]
        await self._write(lambda connection: connection.executemany(_INSERT_BLOB, rows).fetchall(), big=True)

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        await self._write(lambda connection: SideTables(connection).save_snapshot(row, keep))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        kept = KeptTransaction()
        yield kept
        await self._lanes.program.run(lambda connection: kept.run(connection, Appender(self._clock)))

    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None:
        raise NotSupported(
            "A SQLite log cannot join a connection of yours: the file has one writer. "
            "Use `log.transaction()`, with your statements in its `execute`."
        )

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int:
        return await restore(self._lanes.program, source, incarnation, side)

    # Reading

    async def read(self, query: Query) -> Page:
        return await self._read(
            lambda connection: reading.read(connection, query), big=query.limit > _BIG_PAGE
        )

    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]:
        return await self._read(
            lambda connection: reading.read_streams(connection, starts, limit),
            big=len(starts) * limit > _BIG_PAGE,
        )

    async def tail(self, shard: int) -> Place:
        return await self._read(reading.tail)

    async def place(self, shard: int, position: int) -> Place | None:
        return await self._read(lambda connection: reading.place(connection, position))

    async def version(self, stream: Stream) -> int:
        return await self._read(lambda connection: reading.version_of(connection, stream))

    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]:
        return await self._read(lambda connection: reading.find(connection, tenant, ids))

    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._read(lambda connection: reading.blobs(connection, tenant, hashes), big=True)

    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]:
        return await self._read(lambda connection: SideTables(connection).keys(tenant, prefix, limit))

    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]:
        return await self._read(lambda connection: SideTables(connection).fences(tenant, keys))

    async def due(self, tenant: str | None, limit: int = 1000, *, by_now: bool = True) -> Sequence[DueRow]:
        until = self._clock.now_us() if by_now else None
        return await self._read(lambda connection: SideTables(connection).due(tenant, limit, until))

    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]:
        return await self._read(lambda connection: SideTables(connection).ready(tenant, queue, limit))

    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        return await self._read(
            lambda connection: SideTables(connection).load_snapshot(stream, name, fold_version, to_version)
        )

    # Who owns what

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]:
        return await self._write(lambda connection: Owners(connection).claim(tenant, keys, holder))

    async def release(self, rows: Sequence[Release]) -> Sequence[bool]:
        return await self._write(lambda connection: Owners(connection).release(rows))

    async def enrol(self, worker: WorkerRow) -> None:
        await self._write(lambda connection: Owners(connection).enrol(worker, self._clock.now_us()))

    async def beat(self, worker: str, data: bytes) -> int | None:
        return await self._write(
            lambda connection: Owners(connection).beat(worker, data, self._clock.now_us())
        )

    async def workers(self) -> Sequence[WorkerRow]:
        return await self._read(lambda connection: Owners(connection).workers())

    async def held(self) -> Mapping[str, int]:
        return await self._read(lambda connection: Owners(connection).held())

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        return await self._read(lambda connection: Owners(connection).held_ready(holder))

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        return await self._write(
            lambda connection: Owners(connection).sweep(dead, left, self._clock.now_us()), big=True
        )

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        return await self._claim(
            lambda connection: Owners(connection).waiting(labels, 1, without, suspects=suspects),
            lambda connection: Owners(connection).take(holder, labels, limit, without, suspects=suspects),
        )

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        return await self._claim(
            lambda connection: Owners(connection).unseen(holder, 1),
            lambda connection: Owners(connection).woken(holder, limit),
        )

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        return await self._claim(
            lambda connection: Owners(connection).any_ready(wanted, self._clock.now_us()),
            lambda connection: Owners(connection).take_ready(holder, wanted, self._clock.now_us()),
        )

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
        return await self._read(
            lambda connection: Owners(connection).entries(tenant, list, label, statuses, keys, before, limit)
        )

    # What is kept beside the log

    async def look(self, job: Job[T]) -> T:
        """Read what is kept in the file beside the log."""
        return await self._read(job)

    async def change(self, job: Job[T]) -> T:
        """Write it, in one transaction."""
        return await self._write(job)

    # Where it is done

    def _prepare(self, connection: Database) -> UUID:
        named = self._incarnation or uuid4()
        return opening.prepare(connection, self.path, self._clock, migrate=self._migrate, incarnation=named)

    @property
    def _lanes(self) -> Lanes:
        if self._open is None:
            raise LogClosed(f"{self.path} is not open. Open the log first.")
        return self._open

    async def _read(self, job: Job[T], *, big: bool = False) -> T:
        return await self._lanes.reader.run(job, big=big)

    async def _write(self, job: Job[T], *, big: bool = False) -> T:
        lanes = self._lanes
        result = await lanes.writer.run(lambda connection: transact(connection, job), big=big)
        lanes.checkpoints.after_commit()
        return result

    async def _claim(self, look: Job[object], job: Job[list[T]]) -> list[T]:
        """Claim what there is. Whoever only looks, as idle workers do all the time, takes no write lock."""
        return await self._write(job) if await self._read(look) else []

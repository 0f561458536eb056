"""The log as a program holds it.

async with open_log("sqlite:///shop.db", OrderPlaced, OrderPaid) as log:
    await log.append(Write(Stream("order", "o-1"), [OrderPlaced(order_id="o-1")], expect=NO_STREAM))
    async for recorded in log.stream(Stream("order", "o-1")):
        print(recorded.version, recorded.event)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Self
from uuid import UUID

from headwater.errors import EventIdReused, LogClosed
from headwater.events.clock import Clock, SystemClock, to_us
from headwater.events.codec import Codec
from headwater.events.envelope import Recorded, StoredRow, Stream
from headwater.events.ids import Ids, TimeOrderedIds
from headwater.events.registry import Registry, RegistryDecoder
from headwater.log.cursor import Cursor
from headwater.log.group import GroupCommit, Pending
from headwater.log.live import Live
from headwater.log.port import (
    DEFAULT_SHARD,
    Backend,
    Call,
    Data,
    Hints,
    LogInfo,
    Outcome,
    Place,
    Placed,
    Query,
    SharedHints,
)
from headwater.log.port import Transaction as BackendTransaction
from headwater.log.prepare import Limits, Prepared, Preparer
from headwater.log.reading import EventPage, Reader
from headwater.log.same import told_again
from headwater.log.write import Appended, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What may be tuned; the defaults are meant to stay."""

    limits: Limits = field(default_factory=Limits)
    page: int = 1000
    poll: float = 0.25
    linger: float = 0.005
    batch_bytes: int = 4 * 1024 * 1024
    batch_calls: int = 1000
    queue_bytes: int = 64 * 1024 * 1024
    close_patience: float = 10.0


class Log:
    """One typed, append-only log, on any backend. Use it as an async context manager."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry | None = None,
        *,
        options: LogOptions | None = None,
        codec: Codec | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        random: Random | None = None,
        hints: SharedHints | None = None,
    ) -> None:
        self.backend = backend
        self._shared_hints = hints
        self.registry = registry or Registry()
        self.options = options or LogOptions()
        codec = codec or Codec()
        clock = clock or SystemClock()
        self.codec = codec
        self.decoder = RegistryDecoder(self.registry, codec)
        self._preparer = Preparer(codec, ids or TimeOrderedIds(clock), clock, self.options.limits)
        self._live = Live(backend, lambda: self._hints, self.options.poll)
        self._info: LogInfo | None = None
        self.appended = self.batches = 0
        """Events that this process has appended, and the batches in which it has."""
        self._group = GroupCommit(
            self._flush,
            max_bytes=self.options.batch_bytes,
            max_calls=self.options.batch_calls,
            linger=self.options.linger,
            capacity=self.options.queue_bytes,
            random=random or Random(),
            apart=backend.apart,
        )

    async def __aenter__(self) -> Self:
        await self.reopen()
        return self

    async def reopen(self) -> None:
        """Ask the backend anew what log this is; an import changes that."""
        self._info = await self.backend.open()
        if self._shared_hints is not None:
            self._shared_hints.open(self._info.incarnation)
        self._reader = Reader(self.backend, self.decoder, self._live, self._info.incarnation)

    async def __aexit__(self, *_: object) -> None:
        await self._group.close(self.options.close_patience)
        await self._live.close()
        if self._shared_hints is not None:
            await self._shared_hints.close()
        await self.backend.close()
        self._info = None

    @property
    def _hints(self) -> Hints:
        return self._shared_hints or self.backend.hints

    @property
    def info(self) -> LogInfo:
        if self._info is None:
            raise LogClosed("The log is not open. Use it inside `async with`.")
        return self._info

    # Writing

    @property
    def full(self) -> bool:
        """Whether more waits to be written than `queue_bytes`: `append` waits for room then, and others may."""
        return self._group.full

    async def room(self) -> None:
        """Wait until less waits to be written."""
        await self._group.room()

    async def append(self, *writes: Write) -> list[Appended]:
        """Write all or nothing; durable when it returns. Safe to repeat with the same writes, whatever happened."""
        if self.full:
            await self.room()
        pending = await self._submit(writes, awaited=True)
        try:
            # its future is nobody else's, so it needs no shield; a call whose caller was cancelled is still written
            return _appended(pending.prepared.call, await pending.future)
        except EventIdReused:
            same = await told_again(pending.prepared, self.backend, self.decoder)
            if same is None:
                raise
            return _appended(same.call, await self._group.submit(same, awaited=True))

    async def submit(self, *writes: Write) -> Pending:
        """Hand in a call without waiting for it: it is written, in order, with the next awaited one or in a moment.

        Awaiting what it returns gives the outcome. A fact told again by another process is a retry only to `append`.
        """
        return await self._submit(writes, awaited=False)

    def post(self, *writes: Write, awaited: bool = True) -> Pending | None:
        """Hand in a call without a task of its own; its `future` tells the outcome.

        None if its payloads are so large that they must be stored first: hand it to `submit` then.
        """
        self.info  # noqa: B018
        prepared = self._preparer.prepare(writes)
        return None if prepared.blobs else self._group.submit(prepared, awaited=awaited)

    def start(self) -> None:
        """See that what was handed in is written now."""
        self._group.start()

    async def _submit(self, writes: Sequence[Write], *, awaited: bool) -> Pending:
        self.info  # noqa: B018  (raises when closed)
        prepared = await _ready(self._preparer, self.backend, writes)
        return self._group.submit(prepared, awaited=awaited)

    async def _flush(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes = await self.backend.append(DEFAULT_SHARD, calls)
        self.batches += 1
        last = own = 0
        for outcome in outcomes:
            if isinstance(outcome, Placed) and outcome.positions:
                last = max(last, outcome.positions[-1])
                own += outcome.known.count(False)
        if last:
            self.appended += own
            self._live.saw(last, own)
            self._hints.announce(DEFAULT_SHARD, last)
        return outcomes

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Enlisted]:
        """A transaction on the log's own database: what the program writes and appends in it commits together."""
        async with self.backend.transaction() as transaction:
            yield Enlisted(transaction, self._preparer, self.backend)
        place = await self.backend.tail(DEFAULT_SHARD)
        self._live.saw(place.position)
        self._hints.announce(DEFAULT_SHARD, place.position)

    async def enlist(self, connection: Any, *writes: Write) -> None:
        """Append inside the program's own open transaction, on its connection; it happens at COMMIT or not at all."""
        prepared = await _ready(self._preparer, self.backend, writes)
        await self.backend.enlist(connection, [prepared.call])

    # Reading

    async def stream(
        self,
        stream: Stream,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        until: datetime | None = None,
        backward: bool = False,
        limit: int | None = None,
        data: Data = Data.ALL,
    ) -> AsyncIterator[Recorded]:
        """The events of one stream; up to a version or a recorded time; newest first when `backward`."""
        query = Query(
            stream=stream,
            tenant=stream.tenant,
            from_version=from_version,
            to_version=to_version,
            until=None if until is None else to_us(until),
            backward=backward,
            limit=self.options.page,
        )
        self.info  # noqa: B018
        async for recorded in self._reader.stream(query, data, limit):
            yield recorded

    async def read_streams(self, starts: Sequence[tuple[Stream, int]], limit: int) -> list[list[Recorded]]:
        """The beginnings of several streams, each from a version on, in one round trip."""
        self.info  # noqa: B018
        found: list[list[Recorded]] = []
        for rows in await self.backend.read_streams(starts, limit):
            filled = await self._reader.fill(rows)
            found.append([Recorded(row, self.decoder) for row in filled])
        return found

    async def fill(self, rows: Sequence[StoredRow]) -> Sequence[StoredRow]:
        """Rows that were read from the backend, with their large payloads."""
        self.info  # noqa: B018
        return await self._reader.fill(rows)

    async def pages(
        self,
        after: Cursor | None = None,
        *,
        follow: bool = False,
        tenant: str | None = None,
        stream_types: Sequence[str] = (),
        types: Sequence[str] = (),
        run_id: str | None = None,
        correlation_id: str | None = None,
        until: datetime | None = None,
        data: Data = Data.ALL,
        page: int | None = None,
    ) -> AsyncIterator[EventPage]:
        """The log after a cursor, filtered, in pages that each bring the cursor behind them."""
        query = Query(
            tenant=tenant,
            stream_types=tuple(stream_types),
            types=tuple(types),
            run_id=run_id,
            correlation_id=correlation_id,
            until=None if until is None else to_us(until),
            limit=page or self.options.page,
        )
        self.info  # noqa: B018
        async for found in self._reader.log(query, data, after, follow=follow):
            yield found

    async def read(self, after: Cursor | None = None, **filters: Any) -> AsyncIterator[Recorded]:
        """The log after a cursor to its end, event by event; filters as in `pages`."""
        async for page in self.pages(after, **filters):
            for recorded in page.events:
                yield recorded

    async def subscribe(self, after: Cursor | None = None, **filters: Any) -> AsyncIterator[Recorded]:
        """The log after a cursor, and then what is appended, as it is appended; filters as in `pages`."""
        async for page in self.pages(after, follow=True, **filters):
            for recorded in page.events:
                yield recorded

    async def others(self, seen: int) -> int:
        """Wait until somebody else has appended since `seen`, which this gave before; 0 at first."""
        return await self._live.others(seen)

    async def beyond(self, position: int) -> None:
        """Wait until the log holds something after a position, or is said to."""
        await self._live.beyond(position)

    async def head(self) -> Cursor:
        """The cursor behind the last event."""
        return Cursor(self.info.incarnation, {DEFAULT_SHARD: await self.backend.tail(DEFAULT_SHARD)})

    def cursor(self, recorded: Recorded) -> Cursor:
        """The cursor behind an event."""
        return Cursor(self.info.incarnation, {recorded.shard: Place(recorded.position, recorded.chain)})

    async def version(self, stream: Stream) -> int:
        """The version of a stream; 0 when there is none."""
        return await self.backend.version(stream)

    async def find(self, tenant: str, *ids: UUID) -> list[Recorded]:
        """The events with these ids, as far as they are in the log: how to ask what became of a write."""
        return [Recorded(row, self.decoder) for row in await self.backend.find(tenant, ids)]


class Enlisted:
    """Appends inside a transaction of the program; they take effect when it commits."""

    def __init__(self, transaction: BackendTransaction, preparer: Preparer, backend: Backend) -> None:
        self._transaction, self._preparer, self._backend = transaction, preparer, backend

    @property
    def connection(self) -> Any:
        """The database connection that the transaction is on, where the backend has one to share."""
        return self._transaction.connection

    async def execute(self, sql: str, *args: Any) -> None:
        """Run one of the program's own statements in the transaction."""
        await self._transaction.execute(sql, *args)

    async def append(self, *writes: Write) -> None:
        """Have these writes appended when the transaction commits; a conflict then rolls all of it back."""
        prepared = await _ready(self._preparer, self._backend, writes)
        await self._transaction.stage(prepared.call)


async def _ready(preparer: Preparer, backend: Backend, writes: Sequence[Write]) -> Prepared:
    """Encode the writes, and store their large payloads: those come before any lock."""
    prepared = preparer.prepare(writes)
    if prepared.blobs:
        await backend.put_blobs(prepared.call.tenant, prepared.blobs)
    return prepared


def _appended(call: Call, placed: Placed) -> list[Appended]:
    appended: list[Appended] = []
    start = 0
    for write in call.writes:
        end = start + len(write.rows)
        appended.append(
            Appended(
                write.stream,
                tuple(placed.versions[start:end]),
                tuple(placed.positions[start:end]),
                tuple(placed.known[start:end]),
                placed.recorded_at,
            )
        )
        start = end
    return appended

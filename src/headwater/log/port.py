"""The port: what a backend must do, and the values that cross it.

`Log` does everything that is the same everywhere (ids, encoding, digests, group commit, retries, subscriptions).
A backend keeps the promises that need its transactions:

- `append` takes a batch of calls, in order, and judges and writes them in one transaction, durable when it returns,
  as `rules.judge` says: each call has its own outcome, and a refused one leaves nothing. Positions are given
  under one lock a shard, held until commit. It raises `BatchRefused` when nothing was written for a permanent reason,
  `BatchRetry` when nothing was written for a passing one, and `BatchUnknown` when it cannot tell. An attempt whose
  outcome was unknown has no effect any more once a later one has been judged: else it might still write what the
  later one refused.
- The caller sends one batch at a time, and no batch names the same event id, key, due row or ready row twice, nor
  opens or closes a fence that it names elsewhere (`group` sees to it).
- `read` answers from one committed prefix of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from headwater.errors import HeadwaterError
from headwater.events.envelope import EventRow, StoredRow, Stream
from headwater.log.ownership import Ownership
from headwater.log.side import SideRow

SCHEMA_VERSION = 1
DEFAULT_SHARD = 0


class PreparedWrite(NamedTuple):
    """A write with its events encoded. `expect` is -1 for anything, else the version the stream must be at."""

    stream: Stream
    rows: tuple[EventRow, ...]
    expect: int
    skip_known: bool
    side: tuple[SideRow, ...]


class Call(NamedTuple):
    """What one caller wants written together."""

    tenant: str
    writes: tuple[PreparedWrite, ...]


class Placed(NamedTuple):
    """A call that is in the log: one entry an event, through all its writes.

    `recorded_at` is that of the events that are new.
    """

    positions: list[int]
    versions: list[int]
    known: list[bool]
    recorded_at: int = 0


Outcome = Placed | HeadwaterError


class BatchRefused(Exception):
    """Nothing was written, and trying the same batch again would not help. `everybody`: no smaller one would either."""

    def __init__(self, error: HeadwaterError, *, everybody: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.everybody = error, everybody


class BatchRetry(Exception):
    """Nothing was written, for a reason that will pass."""


class BatchUnknown(Exception):
    """The connection was lost before the outcome came."""


class Place(NamedTuple):
    """A position of a shard and the chain there; (0, GENESIS) before the first event."""

    position: int
    chain: bytes


class Data(Enum):
    """How much of the payloads a read brings: nothing, what lies in the row, or large payloads too."""

    NONE = "none"
    REFS = "refs"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One page. Without a stream: the log after `after`, ascending. With one: its versions, either way.

    Bounds are inclusive but for `after`; None means no bound. `until` is recorded time in microseconds. Filters
    with several values match any of them. `tenant` is None only for those who may cross tenants.
    """

    shard: int = DEFAULT_SHARD
    tenant: str | None = None
    limit: int = 1000
    payload: bool = True
    until: int | None = None
    stream: Stream | None = None
    from_version: int = 1
    to_version: int | None = None
    backward: bool = False
    after: int = 0
    to_position: int | None = None
    stream_types: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    run_id: str | None = None
    correlation_id: str | None = None


class Page(NamedTuple):
    """Rows, and for log reads the place up to which the log has been searched, whatever the filter left."""

    rows: Sequence[StoredRow]
    seen: int
    done: bool
    chain: bytes | None = None
    """The log's chain at `seen`, where it came along."""


class LogInfo(NamedTuple):
    """What a log says of itself when it is opened."""

    incarnation: UUID
    backend: str
    schema_version: int


class HeldKey(NamedTuple):
    tenant: str
    key: str
    holder: str


class FenceRow(NamedTuple):
    tenant: str
    key: str
    epoch: int
    holder: str | None
    wakes: int
    seen: int
    label: str
    trial: int
    deaths: int


class DueRow(NamedTuple):
    tenant: str
    key: str
    at: int
    data: bytes


class ReadyRow(NamedTuple):
    tenant: str
    queue: str
    key: str
    priority: int
    at: int
    data: bytes
    holder: str | None
    claim: int


class Claimed(NamedTuple):
    """A fence that was raised for a holder."""

    key: str
    epoch: int
    wakes: int


class Release(NamedTuple):
    """A fence to let go of, if it is as it was: at this epoch, and not woken since."""

    tenant: str
    key: str
    epoch: int
    wakes: int


class SnapshotRow(NamedTuple):
    """A fold cached at a version of a stream. `chain` is that event's, so that a foreign snapshot is seen."""

    stream: Stream
    name: str
    fold_version: int
    version: int
    chain: bytes
    encoding: str
    state: bytes


class Transaction(Protocol):
    """A program's own transaction on the log's database, in which appends are enlisted."""

    @property
    def connection(self) -> Any: ...
    async def execute(self, sql: str, *args: Any) -> None: ...
    async def stage(self, call: Call) -> None: ...


class Hints(Protocol):
    """What shortens the poll. Losing every hint costs latency and nothing else.

    `wait` returns when there was a hint since the last call, or after `timeout` seconds: the highest position that was
    announced, or None where that is not known, or some hints may have been dropped.
    """

    def announce(self, shard: int, position: int) -> None: ...
    async def wait(self, timeout: float) -> int | None: ...


class SharedHints(Hints, Protocol):
    """Hints that come from elsewhere than the backend, for logs of many names."""

    def open(self, incarnation: UUID) -> None: ...
    async def close(self) -> None: ...


class Backend(Ownership, Protocol):
    """One log's storage."""

    name: str
    apart: bool
    """Whether it works beside this process, so that the two should not wait for each other in turns."""

    async def open(self) -> LogInfo: ...
    async def close(self) -> None: ...
    @property
    def hints(self) -> Hints: ...
    async def now_us(self) -> int: ...

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]: ...
    async def put_blobs(self, tenant: str, blobs: Sequence[tuple[bytes, bytes]]) -> None: ...
    async def get_blobs(self, tenant: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]: ...

    async def read(self, query: Query) -> Page: ...
    async def read_streams(
        self, starts: Sequence[tuple[Stream, int]], limit: int
    ) -> Sequence[Sequence[StoredRow]]: ...
    async def tail(self, shard: int) -> Place: ...
    async def place(self, shard: int, position: int) -> Place | None: ...
    async def version(self, stream: Stream) -> int: ...
    async def find(self, tenant: str, ids: Sequence[UUID]) -> Sequence[StoredRow]: ...

    async def claim(self, tenant: str, keys: Sequence[str], holder: str) -> Sequence[Claimed]: ...
    async def release(self, rows: Sequence[Release]) -> Sequence[bool]: ...
    async def keys(self, tenant: str, prefix: str = "", limit: int = 1000) -> Sequence[HeldKey]: ...
    async def fences(self, tenant: str, keys: Sequence[str]) -> Sequence[FenceRow]: ...
    async def due(
        self, tenant: str | None, limit: int = 1000, *, by_now: bool = True
    ) -> Sequence[DueRow]: ...
    async def ready(self, tenant: str | None, queue: str, limit: int = 1000) -> Sequence[ReadyRow]: ...

    async def save_snapshot(self, row: SnapshotRow, keep: int) -> None: ...
    async def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None: ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]: ...
    async def enlist(self, connection: Any, calls: Sequence[Call]) -> None: ...

    async def restore(
        self, source: AsyncIterator[Restored], incarnation: UUID, side: RebuildSide | None
    ) -> int: ...


@dataclass(slots=True)
class Restored:
    """A stretch of an exported log, to be written as it was: rows in order, and the blobs they name."""

    rows: list[StoredRow] = field(default_factory=list[StoredRow])
    blobs: dict[tuple[str, bytes], bytes] = field(default_factory=dict[tuple[str, bytes], bytes])


class RebuildSide(Protocol):
    """What side rows an imported event stands for; the layers above the log know."""

    def __call__(self, row: StoredRow) -> Sequence[SideRow]: ...

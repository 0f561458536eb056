"""A batch as flat arrays for `headwater.append`, and its outcomes.

`zip(*rows)` turns the events' tuples into columns; what every write and call adds is an index or two.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from headwater.events.clock import to_us
from headwater.events.envelope import EventRow, Stream
from headwater.log.port import Call, Outcome, Placed
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_batch_error, as_connect_error, conflict
from headwater.log.write import (
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

ARGUMENTS: Final = 35
STAGED: Final = ARGUMENTS - 1
APPEND: Final = f"SELECT * FROM headwater.append({', '.join(f'${n}' for n in range(1, ARGUMENTS + 1))})"

_COLUMNS: Final = len(EventRow._fields)
_NO_EVENTS: Final[list[Sequence[Any]]] = [()] * _COLUMNS
_NO_SIDE: Final[list[Sequence[Any]]] = [()] * 8

Side = tuple[str, str, str | None, int | None, int | None, bytes | None]


def encode(shard: int, calls: Sequence[Call], new_tenants: Sequence[str]) -> tuple[list[Any], list[Stream]]:
    """The arguments for a batch, all but the last, and the streams that it names."""
    streams: dict[Stream, int] = {}
    call_ends: list[int] = []
    write_streams: list[int] = []
    write_expects: list[int] = []
    write_skips: list[bool] = []
    write_ends: list[int] = []
    event_streams: list[int] = []
    events: list[tuple[EventRow, ...]] = []
    side: list[tuple[Any, ...]] = []
    count = 0
    for number, call in enumerate(calls, 1):
        for write in call.writes:
            stream, rows = write.stream, write.rows
            index = streams.get(stream)
            if index is None:
                index = streams[stream] = len(streams) + 1
            write_streams.append(index)
            write_expects.append(write.expect)
            write_skips.append(write.skip_known)
            if len(rows) == 1:
                event_streams.append(index)
                count += 1
            else:
                event_streams += [index] * len(rows)
                count += len(rows)
            write_ends.append(count)
            events.append(rows)
        call_ends.append(len(write_streams))
        if any([write.side for write in call.writes]):
            side += [(number, call.tenant, *row) for row in _side(call)]
    tenants, types, ids = zip(*[(s.tenant, s.type, s.id) for s in streams], strict=True)
    columns = list(zip(*chain.from_iterable(events), strict=True)) or _NO_EVENTS
    sides = list(zip(*side, strict=True)) or _NO_SIDE
    arguments: list[Any] = [shard, tenants, types, ids, call_ends, write_streams, write_expects, write_skips]
    arguments += [write_ends, event_streams, *columns, *sides, new_tenants]
    return arguments, list(streams)


def _side(call: Call) -> list[Side]:
    rows = [row for write in call.writes for row in write.side]
    closed = {row.key for row in rows if isinstance(row, CloseFence)}
    if closed:
        rows = _settle(rows, closed)
    return [flatten_side(row) for row in rows]


def _settle(rows: list[SideRow], closed: set[str]) -> list[SideRow]:
    """The database closes fences before it opens any: a fence that is opened and then closed need not be opened."""
    kept: list[SideRow] = []
    later: set[str] = set()
    for row in reversed(rows):
        if isinstance(row, OpenFence | Wake) and row.key in closed and row.key in later:
            continue
        if isinstance(row, CloseFence):
            later.add(row.key)
        kept.append(row)
    return kept[::-1]


def flatten_side(row: SideRow) -> Side:
    """Kind, key, name, number, priority, data."""
    match row:
        case Fence(key, epoch):
            return "fence", key, None, epoch, None, None
        case OpenFence(key):
            return "open", key, None, None, None, None
        case CloseFence(key):
            return "close", key, None, None, None, None
        case Wake(key):
            return "wake", key, None, None, None, None
        case TakeKey(key, holder):
            return "take", key, holder, None, None, None
        case NeedKey(key, holder):
            return "need", key, holder, None, None, None
        case GiveKey(key, holder, missing_ok):
            return "give?" if missing_ok else "give", key, holder, None, None, None
        case SetDue(key, at, data):
            return "set_due", key, None, to_us(at), None, data
        case ClearDue(key, missing_ok):
            return "clear_due?" if missing_ok else "clear_due", key, None, None, None, None
        case PutReady(queue, key, data, priority, at):
            return "put_ready", key, queue, None if at is None else to_us(at), priority, data
        case ClearReady(queue, key, missing_ok):
            return "clear_ready?" if missing_ok else "clear_ready", key, queue, None, None, None


def outcomes(calls: Sequence[Call], streams: Sequence[Stream], record: Any) -> list[Outcome]:
    """What became of each call."""
    positions, versions, known, refused = record
    refusals = {facts["call"]: facts for facts in json.loads(refused)} if refused else {}
    found: list[Outcome] = []
    start = 0
    for number, call in enumerate(calls):
        end = start + sum([len(write.rows) for write in call.writes])
        facts = refusals.get(number) if refusals else None
        if facts is not None:
            found.append(conflict(facts, streams[facts["stream"] - 1] if "stream" in facts else None))
        else:
            flags = known[start:end] if known else [False] * (end - start)
            found.append(Placed(positions[start:end], versions[start:end], flags))
        start = end
    return found


class Appender:
    """Sends batches: one at a time for a shard, each in one statement on the shard's own connection."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._turns: dict[int, asyncio.Lock] = {}
        self._tenants: set[str] = set()

    async def append(self, shard: int, calls: Sequence[Call]) -> list[Outcome]:
        """Write a batch; see `port` for what is raised when that fails as a whole."""
        tenants = {call.tenant for call in calls}
        arguments, streams = encode(shard, calls, sorted(tenants - self._tenants))
        arguments.append(self._connections.acting(tenants))
        async with self._turns.setdefault(shard, asyncio.Lock()):
            try:
                connection = await self._connections.writer(shard)
            except DRIVER_ERRORS as error:
                raise as_connect_error(error) from error
            try:
                record = await self._send(connection, arguments)
            except (*DRIVER_ERRORS, ValueError) as error:
                self._connections.drop_writer(shard)
                raise as_batch_error(error) from error
            except asyncio.CancelledError:
                self._connections.drop_writer(shard)
                raise
        self._tenants |= tenants
        return outcomes(calls, streams, record)

    async def _send(self, connection: Any, arguments: Sequence[Any]) -> Any:
        if not self._connections.access.pooled:
            return await connection.fetchrow(APPEND, *arguments)
        async with connection.transaction():
            return await connection.fetchrow(APPEND, *arguments)

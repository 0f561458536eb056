"""A batch as flat arrays for `headwater.append`, and its outcomes.

`zip(*rows)` turns the events' tuples into columns; what every write and call adds is an index or two.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from headwater.events.envelope import EventRow, Stream
from headwater.log.port import BatchRefused, BatchRetry, BatchUnknown, Call, Outcome, Placed, PreparedWrite
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.parameters import sent, spelled
from headwater.log.postgres.pooled import append_in_one_message
from headwater.log.postgres.side import flat_rows
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_batch_error, as_connect_error, conflict
from headwater.log.side import SideRow

_COLUMNS: Final = len(EventRow._fields)
_NO_EVENTS: Final[list[Sequence[Any]]] = [()] * _COLUMNS
_NO_SIDE: Final[list[Sequence[Any]]] = [()] * 10


@dataclass(slots=True)
class Batch:
    """Calls as columns. A stream's index counts from 1; an event's offset is its place among its stream's here."""

    calls: Sequence[Call]
    streams: dict[Stream, int] = field(default_factory=dict[Stream, int])
    sizes: list[int] = field(default_factory=list[int])
    heads: list[int | None] = field(default_factory=list[int | None])
    careful: bool = False
    call_ends: list[int] = field(default_factory=list[int])
    write_streams: list[int] = field(default_factory=list[int])
    write_expects: list[int] = field(default_factory=list[int])
    write_skips: list[bool] = field(default_factory=list[bool])
    write_ends: list[int] = field(default_factory=list[int])
    event_streams: list[int] = field(default_factory=list[int])
    event_offsets: list[int] = field(default_factory=list[int])
    events: list[EventRow] = field(default_factory=list[EventRow])
    side: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    def __post_init__(self) -> None:
        for number, call in enumerate(self.calls, 1):
            side: list[SideRow] = []
            for write in call.writes:
                self._add(write)
                side += write.side
            if side:
                self.side += [(number, call.tenant, *row) for row in flat_rows(side)]
            self.call_ends.append(len(self.write_streams))

    def _add(self, write: PreparedWrite) -> None:
        stream, rows, expect, skip_known, _ = write
        index = self.streams.get(stream)
        if index is None:
            index = self.streams[stream] = len(self.streams) + 1
            self.sizes.append(0)
            self.heads.append(None)
        size = self.sizes[index - 1]
        if expect >= 0:
            head = expect - size
            if self.heads[index - 1] not in {None, head}:
                self.careful = True
            self.heads[index - 1] = head
        end = size + len(rows)
        self.event_streams += [index] * len(rows)
        self.event_offsets += range(size + 1, end + 1)
        self.events += rows
        self.sizes[index - 1] = end
        self.write_streams.append(index)
        self.write_expects.append(expect)
        self.write_skips.append(skip_known)
        self.write_ends.append(len(self.events))

    def arguments(self, shard: int, new_tenants: Sequence[str], acting: Sequence[str] | None) -> list[Any]:
        """What `headwater.append` takes. Columns of NULLs are sent empty: each value costs the driver time."""
        tenants, types, ids = zip(*[(s.tenant, s.type, s.id) for s in self.streams], strict=True)
        events = [_unless_empty(column) for column in zip(*self.events, strict=True)] or _NO_EVENTS
        side = [_unless_empty(column) for column in zip(*self.side, strict=True)] or _NO_SIDE
        heads = _unless_empty(self.heads)
        expects = self.write_expects if heads else ()
        skips = self.write_skips if True in self.write_skips else ()
        return [
            shard, tenants, types, ids, heads, self.call_ends, self.write_streams, expects,
            skips, self.write_ends, self.event_streams, self.event_offsets, *events, *side, new_tenants,
            self.careful, acting,
        ]  # fmt: skip

    def outcomes(self, record: Any) -> list[Outcome]:
        """What became of each call."""
        last, heads, positions, versions, known, refused, recorded_at = record
        if positions is None:
            positions = range(last + 1, last + 1 + len(self.events))
            versions = [heads[s - 1] + o for s, o in zip(self.event_streams, self.event_offsets, strict=True)]
        refusals: dict[int, dict[str, Any]] = (
            {facts["call"]: facts for facts in json.loads(refused)} if refused else {}
        )
        streams = list(self.streams)
        found: list[Outcome] = []
        start = 0
        for number, last_write in enumerate(self.call_ends):
            end = self.write_ends[last_write - 1]
            facts = refusals.get(number) if refusals else None
            if facts is not None:
                stream = streams[int(facts["stream"]) - 1] if "stream" in facts else None
                found.append(conflict(facts, stream))
            else:
                flags = known[start:end] if known else [False] * (end - start)
                when = 0 if flags and False not in flags else recorded_at
                found.append(Placed(list(positions[start:end]), versions[start:end], flags, when))
            start = end
        return found


def _unless_empty(column: Sequence[Any]) -> Sequence[Any]:
    return () if column[0] is None and column.count(None) == len(column) else column


class Appender:
    """Sends batches: one at a time for a shard, each in one statement on the shard's own connection."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._turns: dict[int, asyncio.Lock] = {}
        self._tenants: set[str] = set()
        self._lost: dict[int, list[UUID]] = {}
        self._sql = spelled(queries()["append"])

    async def append(self, shard: int, calls: Sequence[Call]) -> list[Outcome]:
        """Write a batch; see `port` for what is raised when that fails as a whole."""
        if not calls:
            return []
        tenants = {call.tenant for call in calls}
        batch = Batch(calls)
        arguments = batch.arguments(shard, sorted(tenants - self._tenants), self._connections.acting(tenants))
        async with self._turns.setdefault(shard, asyncio.Lock()):
            lost = self._lost.setdefault(shard, [])
            attempt = uuid4()
            try:
                connection = await self._connections.writer(shard)
            except DRIVER_ERRORS as error:
                raise as_connect_error(error) from error
            try:
                record = await self._send(connection, [*arguments, attempt, lost or None])
            except (*DRIVER_ERRORS, ValueError) as error:
                self._connections.drop_writer(shard)
                failure = as_batch_error(error)
                if isinstance(failure, BatchUnknown):
                    lost.append(attempt)
                elif lost and isinstance(failure, BatchRefused) and failure.everybody:
                    raise BatchRetry(
                        str(failure)
                    ) from error  # to say no, the lost attempt must be voided first
                raise failure from error
            except asyncio.CancelledError:
                self._connections.drop_writer(shard)
                lost.append(attempt)
                raise
            lost.clear()
        self._tenants |= tenants
        return batch.outcomes(record)

    async def _send(self, connection: Any, arguments: Sequence[Any]) -> Any:
        if self._connections.access.pooled:
            return await append_in_one_message(connection, arguments)
        return await connection.fetchrow(self._sql, *sent(arguments))

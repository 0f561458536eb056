"""Export and import as JSON Lines: how a log moves between backends, or into an archive, byte for byte.

    {"headwater": "log", "format": 1, "incarnation": "...", "events": 2, "chain": "..."}
    {"blob": "<hash>", "tenant": "...", "bytes": "<base64>"}
    {"position": 1, "stream": ["order", "o-1", "default"], "version": 1, ... "data": "<base64>"}

Stored bytes travel as they are, so ids, digests, positions, times and the chain come out the same, and cursors and
anchors of the old log hold in the new one. The first line says how much follows and what the chain must be at the end:
a cut-off file is refused, and nothing of it is imported. Import goes into an empty log.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

from headwater.errors import ChainBroken, PayloadRefused
from headwater.events.digest import GENESIS, link
from headwater.events.envelope import StoredRow
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD, Query, RebuildSide, Restored
from headwater.log.side import SideRow
from headwater.log.verify import check_event

FORMAT = 1
_BATCH = 500
_BYTES = {"data", "metadata", "blob", "digest", "chain"}


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an export."""

    incarnation: UUID
    events: int
    chain: bytes

    def line(self) -> str:
        fields = {"headwater": "log", "format": FORMAT, "incarnation": str(self.incarnation)}
        return json.dumps(fields | {"events": self.events, "chain": self.chain.hex()})

    @classmethod
    def parse(cls, line: str) -> Header:
        try:
            fields = json.loads(line)
            if fields["headwater"] != "log" or fields["format"] != FORMAT:
                raise ValueError(f"format {fields.get('format')!r} is not {FORMAT}")
            return cls(UUID(fields["incarnation"]), int(fields["events"]), bytes.fromhex(fields["chain"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PayloadRefused(
                f"This is not an export of a log: {error}. Give a file that `export` wrote."
            ) from None


async def export_lines(log: Log, progress: Callable[[int, int], None] | None = None) -> AsyncIterator[str]:
    """The log as it is now, line by line; what is appended meanwhile is left out."""
    tail = await log.backend.tail(DEFAULT_SHARD)
    yield Header(log.info.incarnation, tail.position, tail.chain).line()
    sent: set[tuple[str, bytes]] = set()
    query = Query(limit=log.options.page, to_position=tail.position)
    while query.after < tail.position:
        page = await log.backend.read(query)
        for raw in page.rows:
            row = StoredRow(*raw)
            if row.blob is not None and (row.tenant, row.blob) not in sent:
                sent.add((row.tenant, row.blob))
                found = await log.backend.get_blobs(row.tenant, [row.blob])
                if row.blob not in found:
                    raise ChainBroken(row.position, "its large payload is missing")
                yield json.dumps(
                    {"blob": row.blob.hex(), "tenant": row.tenant, "bytes": _text(found[row.blob])}
                )
            yield json.dumps(_to_json(row))
        if progress:
            progress(page.seen, tail.position)
        query = replace(query, after=page.seen)


async def import_lines(
    log: Log,
    lines: Iterable[str],
    side: RebuildSide | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write an export into this empty log. `side` says which side rows an event stands for.

    It is handed a large payload with the first event that has it.
    """
    source = iter(lines)
    header = Header.parse(next(source, ""))
    parts = _restored(source, header, progress)
    if side is None:
        events = await log.backend.restore(parts, header.incarnation, None)
    else:
        filled = _WithPayloads(side)
        events = await log.backend.restore(filled.watch(parts), header.incarnation, filled)
    await log.reopen()
    return events


async def _restored(
    lines: Iterator[str], header: Header, progress: Callable[[int, int], None] | None
) -> AsyncIterator[Restored]:
    """The export in batches, checked as it goes by; the last batch is held back until the end has been checked."""
    chain, position = GENESIS, 0
    batch = Restored()
    blobs: set[tuple[str, bytes]] = set()
    for number, line in enumerate(lines, start=2):
        fields = _parse(line, number)
        if "bytes" in fields:
            name, data = _blob(fields, number)
            blobs.add(name)
            batch.blobs[name] = data
            continue
        row = _from_json(fields, number)
        position += 1
        chain = link(chain, position, row.version, row.recorded_at, row.digest)
        if row.position != position or row.chain != chain:
            raise ChainBroken(position, f"line {number} of the export does not follow the line before")
        if row.blob is not None and (row.tenant, row.blob) not in blobs:
            raise ChainBroken(
                position, f"its large payload does not stand before line {number} of the export"
            )
        if len(batch.rows) == _BATCH:
            yield batch
            batch = Restored()
            if progress:
                progress(position, header.events)
        batch.rows.append(row)
    if (position, chain) != (header.events, header.chain):
        raise ChainBroken(
            position + 1, f"the export ends here, but says that it holds {header.events} events"
        )
    yield batch
    if progress:
        progress(position, header.events)


class _WithPayloads:
    """A `RebuildSide` that sees the large payloads of the part that is being restored, and of the one before."""

    def __init__(self, side: RebuildSide) -> None:
        self._side = side
        self._blobs: dict[tuple[str, bytes], bytes] = {}

    async def watch(self, parts: AsyncIterator[Restored]) -> AsyncIterator[Restored]:
        before: dict[tuple[str, bytes], bytes] = {}
        async for part in parts:
            self._blobs, before = before | part.blobs, part.blobs
            yield part

    def __call__(self, row: StoredRow) -> Sequence[SideRow]:
        if row.blob is None:
            return self._side(row)
        return self._side(row._replace(data=self._blobs.get((row.tenant, row.blob))))


def _to_json(row: StoredRow) -> dict[str, Any]:
    fields: dict[str, Any] = {"stream": [row.stream_type, row.stream_id, row.tenant]}
    for name, value in zip(StoredRow._fields, row, strict=True):
        if name in {"tenant", "stream_type", "stream_id"} or value is None:
            continue
        if name in _BYTES and isinstance(value, bytes):
            fields[name] = _text(value)
        else:
            fields[name] = str(UUID(bytes=value)) if isinstance(value, bytes) else value
    fields["event_id"] = str(fields["event_id"])
    return fields


def _from_json(fields: dict[str, Any], number: int) -> StoredRow:
    try:
        type, id, tenant = fields.pop("stream")
        values: dict[str, Any] = {
            name: b64decode(value) if name in _BYTES else value for name, value in fields.items()
        }
        values |= {
            "tenant": tenant,
            "stream_type": type,
            "stream_id": id,
            "event_id": UUID(fields["event_id"]),
        }
        row = StoredRow(*[values.pop(name, None) for name in StoredRow._fields])
        check_event(row)
    except (KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise PayloadRefused(f"Line {number} of the export is not an event: {error!r}.") from None
    return row


def _blob(fields: dict[str, Any], number: int) -> tuple[tuple[str, bytes], bytes]:
    try:
        name, data = bytes.fromhex(fields["blob"]), b64decode(fields["bytes"])
        if sha256(data).digest() != name:
            raise ValueError("its bytes are not the ones that were written")
    except (KeyError, ValueError, TypeError) as error:
        raise PayloadRefused(f"Line {number} of the export is not a large payload: {error}.") from None
    return (fields["tenant"], name), data


def _parse(line: str, number: int) -> dict[str, Any]:
    try:
        found: object = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise PayloadRefused(f"Line {number} of the export is not JSON: {error}.") from None
    return cast("dict[str, Any]", found)


def _text(data: bytes) -> str:
    return b64encode(data).decode()

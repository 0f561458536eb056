"""Is the log what was written? Recompute every digest and the whole chain.

An altered event has another digest; a removed or swapped one breaks a position, a version or a link. A log whose
end was cut off is a valid shorter log: that is found against an anchor, a line exported earlier and kept elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from headwater.errors import ChainBroken, CursorRefused
from headwater.events.digest import GENESIS, event_digest, link
from headwater.events.envelope import StoredRow
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD, Place, Query


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a log was at some time. Keep it away from the log."""

    incarnation: UUID
    shard: int
    place: Place

    def line(self) -> str:
        fields = {"incarnation": str(self.incarnation), "shard": self.shard, "position": self.place.position}
        return json.dumps(fields | {"chain": self.place.chain.hex()})

    @classmethod
    def parse(cls, line: str) -> Anchor:
        try:
            fields = json.loads(line)
            place = Place(int(fields["position"]), bytes.fromhex(fields["chain"]))
            return cls(UUID(fields["incarnation"]), int(fields["shard"]), place)
        except (ValueError, KeyError, TypeError) as error:
            raise CursorRefused(
                f"{line[:60]!r} is not an anchor: {error}. Give lines that `verify` printed."
            ) from None


async def verify(
    log: Log, anchors: Iterable[Anchor] = (), progress: Callable[[int], None] | None = None
) -> Anchor:
    """Read the whole log and check it; `ChainBroken` names the first position that is wrong. Gives today's anchor."""
    wanted = _fitting(log, anchors)
    position, chain, recorded_at = 0, GENESIS, 0
    versions: dict[tuple[str, str, str], int] = {}
    query = Query(limit=log.options.page)
    while True:
        page = await log.backend.read(query)
        for raw in page.rows:
            row = StoredRow(*raw)
            _check_order(row, position, recorded_at, versions)
            check_event(row)
            position, recorded_at = row.position, row.recorded_at
            chain = link(chain, position, row.version, recorded_at, row.digest)
            if chain != row.chain:
                raise ChainBroken(position, "the chain does not lead here from the event before")
            anchored = wanted.pop(position, chain)
            if anchored != chain:
                raise ChainBroken(position, "the anchor names another event: history was rewritten")
        await _check_blobs(log, page.rows)
        if progress:
            progress(position)
        if page.done:
            break
        query = replace(query, after=page.seen)
    if wanted:
        raise ChainBroken(
            position + 1, f"the log ends here, but was anchored at {max(wanted)}: its end was cut off"
        )
    return Anchor(log.info.incarnation, DEFAULT_SHARD, Place(position, chain))


async def verify_last(log: Log, events: int) -> int:
    """Check the last events only, each against the one before it: quick, and no proof of what lies before them."""
    end = await log.backend.tail(DEFAULT_SHARD)
    query = Query(limit=log.options.page, after=max(end.position - events, 0), to_position=end.position)
    start = await log.backend.place(DEFAULT_SHARD, query.after)
    position, chain = query.after, start.chain if start else GENESIS
    while position < end.position:
        page = await log.backend.read(replace(query, after=position))
        for raw in page.rows:
            row = StoredRow(*raw)
            check_event(row)
            position += 1
            chain = link(chain, position, row.version, row.recorded_at, row.digest)
            if (row.position, row.chain) != (position, chain):
                raise ChainBroken(position, "the chain does not lead here from the event before")
        if page.done and position < end.position:
            raise ChainBroken(position + 1, "the event is not there")
    return position - query.after


def _fitting(log: Log, anchors: Iterable[Anchor]) -> dict[int, bytes]:
    wanted: dict[int, bytes] = {}
    for anchor in anchors:
        if anchor.incarnation != log.info.incarnation:
            raise CursorRefused(
                f"The anchor is of log {anchor.incarnation}, but this is {log.info.incarnation}."
            )
        if anchor.place.position:
            wanted[anchor.place.position] = anchor.place.chain
    return wanted


def _check_order(
    row: StoredRow, position: int, recorded_at: int, versions: dict[tuple[str, str, str], int]
) -> None:
    stream = (row.tenant, row.stream_type, row.stream_id)
    if row.position != position + 1:
        raise ChainBroken(position + 1, f"the next event is at position {row.position}")
    if row.version != versions.get(stream, 0) + 1:
        raise ChainBroken(
            row.position, f"stream {'/'.join(stream)} goes from {versions.get(stream, 0)} to {row.version}"
        )
    if row.recorded_at < recorded_at:
        raise ChainBroken(row.position, "it was recorded before the event before it")
    versions[stream] = row.version


def check_event(row: StoredRow) -> None:
    """Raise `ChainBroken` when a row is not what its digest was made of."""
    event_id = UUID(bytes=row.event_id) if isinstance(row.event_id, bytes) else row.event_id
    digest = event_digest(
        row.tenant,
        row.stream_type,
        row.stream_id,
        event_id,
        row.type,
        row.schema_version,
        row.spec_version,
        row.occurred_at,
        row.run_id,
        row.correlation_id,
        row.causation_id,
        row.actor,
        row.traceparent,
        row.encoding,
        row.data,
        row.metadata,
        row.blob,
    )
    if digest != row.digest:
        raise ChainBroken(row.position, f"event {event_id} is not the one that was written")


async def _check_blobs(log: Log, rows: Iterable[StoredRow]) -> None:
    for raw in rows:
        row = StoredRow(*raw)
        if row.blob is not None:
            found = await log.backend.get_blobs(row.tenant, [row.blob])
            if sha256(found.get(row.blob, b"")).digest() != row.blob:
                raise ChainBroken(row.position, "its large payload is missing or altered")

"""The same fact told again, by a process that does not have the first telling's bytes.

Ids derived from an idempotency key come out the same in every process, but the time, the trace and the compression
of the second telling differ, and so does its digest. Such a call is a retry, not a misuse: an event is the same when
its id, stream, type, schema version and payload are. Only this comparison costs a read, and only after a refusal.
"""

from __future__ import annotations

from headwater.events.envelope import Decoder, EventRow, Recorded, Stream
from headwater.log.port import Backend
from headwater.log.prepare import Prepared


async def told_again(prepared: Prepared, backend: Backend, decoder: Decoder) -> Prepared | None:
    """The call with the digests of the first telling, when every id that is known stands for the same fact."""
    call = prepared.call
    ids = [row.event_id for write in call.writes for row in write.rows]
    stored = {r.id: r for r in (Recorded(row, decoder) for row in await backend.find(call.tenant, ids))}
    blobs = dict(prepared.blobs)
    missing = [r.blob for r in stored.values() if r.blob and r.blob not in blobs]
    blobs.update(await backend.get_blobs(call.tenant, missing) if missing else {})

    def payload(encoding: str, data: bytes | None, blob: bytes | None) -> object:
        there = data if blob is None else blobs.get(blob)
        return None if there is None else decoder.json(encoding, there)

    def known(stream: Stream, row: EventRow) -> EventRow | None:
        first = stored.get(row.event_id)
        if first is None:
            return row
        same = (
            first.stream == stream
            and (first.type, first.schema_version) == (row.type, row.schema_version)
            and payload(first.encoding, first.stored, first.blob) == payload(row.encoding, row.data, row.blob)
        )
        return row._replace(digest=first.digest) if same else None

    writes = [(write, [known(write.stream, row) for row in write.rows]) for write in call.writes]
    same = [write._replace(rows=tuple([r for r in rows if r])) for write, rows in writes]
    if any(len(a.rows) != len(b.rows) for a, b in zip(same, call.writes, strict=True)) or not stored:
        return None
    return prepared._replace(call=call._replace(writes=tuple(same)), blobs=[])

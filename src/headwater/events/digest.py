"""The bytes that the chain is made of.

Every event has a digest: SHA-256 over its envelope and stored bytes, every variable field preceded by its length, so
that no two events have the same bytes. It is computed before the lock. Under the lock each event extends its
shard's chain:

    chain(n) = SHA-256(chain(n-1) · position · version · recorded_at · digest)

with 8-byte big-endian integers and 32 zero bytes before the first event. Whoever alters, removes or swaps an event
would have to find a collision or rewrite everything after it, and then the exported anchors do not fit.
A payload kept as a blob enters by its hash, so a log verifies with or without reading its blobs.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from uuid import UUID

from headwater.events.envelope import Stream

GENESIS = bytes(32)

_HEAD = Struct(">16sIIq10iii")
_LINK = Struct(">32sqqq32s")


def event_digest(
    tenant: str,
    stream_type: str,
    stream_id: str,
    event_id: UUID,
    type: str,
    schema_version: int,
    spec_version: int,
    occurred_at: int,
    run_id: str | None,
    correlation_id: str | None,
    causation_id: str | None,
    actor: str | None,
    traceparent: str | None,
    encoding: str,
    data: bytes | None,
    metadata: bytes | None,
    blob: bytes | None,
) -> bytes:
    """SHA-256 of one event. Lengths count characters for text and bytes for payloads; -1 stands for absent."""
    head = _HEAD.pack(
        event_id.bytes,
        schema_version,
        spec_version,
        occurred_at,
        len(tenant),
        len(stream_type),
        len(stream_id),
        len(type),
        len(encoding),
        -1 if run_id is None else len(run_id),
        -1 if correlation_id is None else len(correlation_id),
        -1 if causation_id is None else len(causation_id),
        -1 if actor is None else len(actor),
        -1 if traceparent is None else len(traceparent),
        -1 if blob is not None or data is None else len(data),
        -1 if metadata is None else len(metadata),
    )
    text = (
        f"{tenant}{stream_type}{stream_id}{type}{encoding}"
        f"{run_id or ''}{correlation_id or ''}{causation_id or ''}{actor or ''}{traceparent or ''}"
    )
    return sha256(
        b"".join((head, text.encode(), (blob if blob is not None else data) or b"", metadata or b""))
    ).digest()


def plain_digest(
    stream: Stream,
    event_id: UUID,
    type: str,
    schema_version: int,
    spec_version: int,
    occurred_at: int,
    encoding: str,
    data: bytes,
) -> bytes:
    """`event_digest` of an event whose envelope says nothing but this."""
    stream_type, stream_id, tenant = stream
    head = _HEAD.pack(
        event_id.bytes, schema_version, spec_version, occurred_at, len(tenant), len(stream_type), len(stream_id),
        len(type), len(encoding), -1, -1, -1, -1, -1, len(data), -1,
    )  # fmt: skip
    return sha256(head + f"{tenant}{stream_type}{stream_id}{type}{encoding}".encode() + data).digest()


def link(previous: bytes, position: int, version: int, recorded_at: int, digest: bytes) -> bytes:
    """The chain's value after one more event."""
    return sha256(_LINK.pack(previous, position, version, recorded_at, digest)).digest()

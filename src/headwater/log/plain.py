"""An event as plain JSON: what the command and the server show of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from headwater.errors import Undecodable
from headwater.events.clock import to_us
from headwater.events.codec import PLAIN
from headwater.events.envelope import Decoder, Recorded, StoredRow
from headwater.log.log import Log


def event_json(log: Log, recorded: Recorded) -> dict[str, Any]:
    """All of an event, with the cursor behind it."""
    stream = recorded.stream
    data, problem = payload(recorded)
    fields: dict[str, Any] = {
        "position": recorded.position,
        "tenant": stream.tenant,
        "stream_type": stream.type,
        "stream_id": stream.id,
        "version": recorded.version,
        "event_id": str(recorded.id),
        "type": recorded.type,
        "schema_version": recorded.schema_version,
        "spec_version": recorded.spec_version,
        "occurred_at": recorded.occurred_at.isoformat(),
        "recorded_at": recorded.recorded_at.isoformat(),
        "run_id": recorded.run_id,
        "correlation_id": recorded.correlation_id,
        "causation_id": recorded.causation_id,
        "actor": recorded.actor,
        "traceparent": recorded.traceparent,
        "metadata": metadata(recorded),
        "data": data,
        "blob": recorded.blob.hex() if recorded.blob else None,
        "chain": recorded.chain.hex(),
        "cursor": str(log.cursor(recorded)),
    }
    return fields | ({"undecodable": problem} if problem else {})


def recorded_of_json(event: dict[str, Any], decoder: Decoder) -> Recorded:
    """And back; what it was stored as is not told, so it has no digest."""
    row = StoredRow(
        position=event["position"],
        tenant=event["tenant"],
        stream_type=event["stream_type"],
        stream_id=event["stream_id"],
        version=event["version"],
        event_id=UUID(event["event_id"]),
        type=event["type"],
        schema_version=event["schema_version"],
        spec_version=event["spec_version"],
        occurred_at=to_us(datetime.fromisoformat(event["occurred_at"])),
        recorded_at=to_us(datetime.fromisoformat(event["recorded_at"])),
        run_id=event["run_id"],
        correlation_id=event["correlation_id"],
        causation_id=event["causation_id"],
        actor=event["actor"],
        traceparent=event["traceparent"],
        encoding=PLAIN,
        data=orjson.dumps(event["data"]),
        metadata=orjson.dumps(event["metadata"]) if event["metadata"] else None,
        blob=None,
        digest=b"",
        chain=bytes.fromhex(event["chain"]),
    )
    return Recorded(row, decoder)


def payload(recorded: Recorded) -> tuple[Any, str | None]:
    """The payload as plain values, or why there is none. One bad payload must not hide the other events."""
    try:
        return recorded.data, None
    except (Undecodable, ValueError) as error:
        return None, f"undecodable: {error}"


def metadata(recorded: Recorded) -> dict[str, Any]:
    try:
        return dict(recorded.metadata)
    except (Undecodable, ValueError):
        return {}

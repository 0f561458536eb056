"""An event as plain JSON: what the command and the server show of it."""

from __future__ import annotations

from typing import Any

from headwater.errors import Undecodable
from headwater.events.envelope import Recorded
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

"""How an event of the log looks: as a JSON object, as a line, and in full."""

from __future__ import annotations

import json
import shutil
from typing import Any

from headwater.cli.output import OUT, plain, plain_lines
from headwater.errors import Undecodable
from headwater.events.codec import Codec
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


def event_line(recorded: Recorded) -> str:
    """An event on one line, cut to the terminal's width where there is one."""
    at = recorded.recorded_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    head = f"{recorded.position:>7}  {at}  "
    name = f"{plain(recorded.type)}  {plain(str(recorded.stream))}@{recorded.version}  "
    body = _short(recorded)
    if OUT.on_terminal:
        room = max(shutil.get_terminal_size().columns - len(head) - len(name), 12)
        body = body if len(body) <= room else body[: room - 1] + "…"
    return f"{OUT.paint(head, 'dim')}{OUT.paint(name, 'cyan')}{body}"


def event_in_full(recorded: Recorded) -> str:
    """An event over many lines: its envelope, then its payload."""
    title = f"{plain(recorded.type)}  {plain(str(recorded.stream))}@{recorded.version}  position {recorded.position}"
    own = str(recorded.id)
    facts = {
        "id": own,
        "recorded at": str(recorded.recorded_at),
        "occurred at": str(recorded.occurred_at),
        "run": recorded.run_id,
        "correlation": recorded.correlation_id if recorded.correlation_id != own else None,
        "caused by": recorded.causation_id if recorded.causation_id != own else None,
        "actor": recorded.actor,
        "trace": recorded.traceparent,
        "stored as": f"{recorded.encoding}, schema version {recorded.schema_version}",
        "metadata": json.dumps(metadata(recorded), ensure_ascii=False) if metadata(recorded) else None,
    }
    lines = [f"  {name:<12} {plain(value)}" for name, value in facts.items() if value is not None]
    data, problem = payload(recorded)
    body = f"({problem})" if problem else json.dumps(data, indent=2, ensure_ascii=False)
    return "\n".join([OUT.paint(title, "bold"), *lines, plain_lines(body)])


def stored_payload(codec: Codec, recorded: Recorded) -> str:
    """The canonical JSON that was written."""
    return codec.decode(recorded.encoding, recorded.stored or b"").decode()


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


def _short(recorded: Recorded) -> str:
    if recorded.stored is None:
        return f"(large payload {(recorded.blob or b'').hex()[:12]})"
    data, problem = payload(recorded)
    return plain(f"({problem})" if problem else json.dumps(data, ensure_ascii=False))

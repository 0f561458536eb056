"""How an event of the log looks: as a line, and in full."""

from __future__ import annotations

import json
import shutil

from headwater.cli.output import OUT, plain, plain_lines
from headwater.events.codec import Codec
from headwater.events.envelope import Recorded
from headwater.log.plain import metadata, payload


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


def _short(recorded: Recorded) -> str:
    if recorded.stored is None:
        return f"(large payload {(recorded.blob or b'').hex()[:12]})"
    data, problem = payload(recorded)
    return plain(f"({problem})" if problem else json.dumps(data, ensure_ascii=False))

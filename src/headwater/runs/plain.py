"""Runs as plain JSON: what the command and the server show of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from headwater.events.clock import to_us
from headwater.runs.entry import RunSummary
from headwater.runs.state import RunState
from headwater.runs.timeline import Line

_STATE: TypeAdapter[RunState] = TypeAdapter(RunState)
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


def state_json(state: RunState) -> dict[str, Any]:
    """All that the fold says of a run."""
    fields: dict[str, Any] = _STATE.dump_python(state, mode="json")
    return {**fields, "state": state.state}


def state_of_json(fields: dict[str, Any]) -> RunState:
    """And back."""
    return _STATE.validate_python({name: value for name, value in fields.items() if name != "state"})


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """What the list shows of a run."""
    fields = summary._asdict()
    del fields["place"]
    return fields | {"created_at": summary.created_at.isoformat(), "attributes": dict(summary.attributes)}


def summary_of_json(fields: dict[str, Any]) -> RunSummary:
    """And back."""
    created = datetime.fromisoformat(fields["created_at"])
    known: dict[str, Any] = {name: fields[name] for name in RunSummary._fields if name != "place"}
    known |= {"created_at": created, "place": (to_us(created), fields["run"])}
    return RunSummary(**known)


def line_json(line: Line) -> dict[str, Any]:
    """One line of a run's timeline."""
    fields: dict[str, Any] = _LINE.dump_python(line, mode="json")
    return fields

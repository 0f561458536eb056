"""The list of runs: one entry a run, written with the events that change what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast

from headwater.errors import PayloadRefused
from headwater.events.canonical import decode_json, encode_json
from headwater.events.clock import from_us
from headwater.events.names import check_id
from headwater.log.ownership import EntryRow
from headwater.log.side import PutEntry
from headwater.runs.machines import RunStatus
from headwater.runs.rows import LIST
from headwater.runs.state import RunState

_STATE_BYTES = 4096
_ERROR_LENGTH = 500
_ATTRIBUTES_BYTES = 16 * 1024


class RunSummary(NamedTuple):
    """What the list shows of a run. `state` is None when it is too large to be listed."""

    run: str
    tenant: str
    workflow: str
    workflow_version: int
    status: RunStatus
    created_at: datetime
    state: Any
    attributes: Mapping[str, str]
    error: str | None
    parent: str | None
    place: tuple[int, str]

    @classmethod
    def of(cls, row: EntryRow) -> RunSummary:
        data = decode_json(row.data)
        return cls(
            row.key,
            row.tenant,
            row.label,
            data["workflow_version"],
            cast("RunStatus", row.status),
            from_us(row.at),
            data.get("state"),
            data.get("attributes", {}),
            data.get("error"),
            data.get("parent"),
            (row.at, row.key),
        )


def entry(
    run: str,
    workflow: str,
    workflow_version: int,
    status: RunStatus,
    *,
    state: Any = None,
    attributes: Mapping[str, str] | None = None,
    error: str | None = None,
    parent: str | None = None,
) -> PutEntry:
    """What the list shows of a run; what it carries is always small."""
    fields: dict[str, Any] = {
        "workflow_version": workflow_version,
        "state": state,
        "attributes": dict(attributes) if attributes else None,
        "error": error and error[:_ERROR_LENGTH],
        "parent": parent,
    }
    if state is not None and len(encode_json(state, "state")) > _STATE_BYTES:
        fields["state"] = None
    said = {name: value for name, value in fields.items() if value is not None}
    return PutEntry(LIST, run, workflow, status, encode_json(said, "entry"))


def entry_of(state: RunState, status: RunStatus | None = None) -> PutEntry:
    """The entry of a run as its fold has it; with another `status` where an event is about to change that."""
    return entry(
        state.run,
        state.workflow,
        state.workflow_version,
        status or state.status,
        state=state.state,
        attributes=state.attributes,
        error=state.error.message if state.error else None,
        parent=state.parent,
    )


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Refuse attributes that a list could not carry."""
    if not attributes:
        return
    for name, value in attributes.items():
        check_id("attribute name", name)
        check_id(f"attribute {name}", value)
    size = len(encode_json(dict(attributes), "attributes"))
    if size > _ATTRIBUTES_BYTES:
        raise PayloadRefused(
            f"The attributes have {size:,} bytes; at most {_ATTRIBUTES_BYTES:,} are allowed. "
            "Keep what nobody filters by in the input."
        )

"""Reading a run's events, whichever version of the protocol they are written in.

Legacy events (spec version 1, or none) differ in one thing: where an error stands today, they may have plain text.
"""

from __future__ import annotations

from typing import Any, Final, cast

from pydantic import ValidationError

from headwater.errors import PayloadMissing, RunNotSupportedError, Undecodable, UnknownEventType
from headwater.events.envelope import SPEC_VERSION_CURRENT, SPEC_VERSION_LEGACY, Recorded
from headwater.events.model import type_name
from headwater.runs.events import RunEvent

MODELS: Final[dict[str, type[RunEvent]]] = {type_name(model): model for model in RunEvent.__args__}


def is_legacy(spec_version: int | None) -> bool:
    return (spec_version or SPEC_VERSION_LEGACY) <= SPEC_VERSION_LEGACY


def check_spec(run: str, spec_version: int | None) -> None:
    """Refuse what newer code has written."""
    if spec_version is not None and spec_version > SPEC_VERSION_CURRENT:
        raise RunNotSupportedError(run, spec_version, SPEC_VERSION_CURRENT)


def run_event(recorded: Recorded) -> RunEvent:
    """The typed event of a run."""
    if recorded.spec_version != SPEC_VERSION_CURRENT:
        check_spec(recorded.stream.id, recorded.spec_version)
        return _legacy_event(recorded)
    if recorded.type not in MODELS:
        raise UnknownEventType(recorded.type)
    return cast("RunEvent", recorded.event)


def _legacy_event(recorded: Recorded) -> RunEvent:
    model = MODELS.get(recorded.type)
    if model is None:
        raise UnknownEventType(recorded.type)
    if recorded.stored is None:
        raise PayloadMissing(f"Event {recorded.id} was read without its payload. Read with data=Data.ALL.")
    data: dict[str, Any] = {**recorded.data, "type": recorded.type}
    if isinstance(data.get("error"), str):
        data["error"] = {"type": "Error", "message": data["error"]}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Undecodable(
            f"The legacy {recorded.type} at {recorded.position} cannot be read: {error}"
        ) from error

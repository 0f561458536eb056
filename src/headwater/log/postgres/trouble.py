"""What the driver's errors mean: did the server refuse, for now or for good, or do we not know?

Only an error that the server sent for a statement says that its transaction was not committed. When the connection
goes away, or the server says that it ends the session, the commit may have happened before: the outcome is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import asyncpg

from headwater.errors import (
    EventIdReused,
    FenceLost,
    HeadwaterError,
    KeyNotHeld,
    KeyTaken,
    LogUnavailable,
    MixedIds,
    NotSupported,
    RowGone,
    StorageFull,
    StorageReadOnly,
    StorageRefused,
    WrongVersion,
)
from headwater.events.envelope import Stream
from headwater.log.port import BatchRefused, BatchRetry, BatchUnknown

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

CONFLICT: Final = "HW001"
_WRONG_PLACE: Final = {"HW002", "HW003"}
_FULL: Final = {"53100", "58030"}
_READ_ONLY: Final = "25006"
_PASSING: Final = {"40001", "40P01", "53200", "53300", "53400", "55P03", "57014", "57P03"}
_LOCKED_OUT: Final = ("28", "3D")
_LOST: Final = {"57P01", "57P02"}


def as_trouble(error: BaseException) -> HeadwaterError:
    """The error for a caller of anything but an append."""
    state = sqlstate(error)
    if state == CONFLICT and isinstance(error, asyncpg.PostgresError):
        return conflict(json.loads(str(getattr(error, "detail", None) or "{}")))
    if state in _WRONG_PLACE:
        return NotSupported(str(error))
    if state in _FULL:
        return StorageFull(f"The log's database has no space left ({error}). Free some, and try again.")
    if state == _READ_ONLY:
        return StorageReadOnly(f"The log's database is read-only ({error}). Connect to the primary.")
    if state is None or is_lost(error) or state in _PASSING:
        return LogUnavailable(
            f"The log's database cannot be reached: {_said(error)}. Try again when it is back."
        )
    return StorageRefused(f"The log's database refused: {_said(error)}.")


def as_batch_error(error: BaseException) -> BatchRefused | BatchRetry | BatchUnknown:
    """The error for a batch that was on its way."""
    state = sqlstate(error)
    if isinstance(error, (ValueError, asyncpg.DataError)) and not is_lost(error):
        return BatchRefused(StorageRefused(f"The log's database cannot hold this: {_said(error)}."))
    if state is None or is_lost(error):
        return BatchUnknown(_said(error))
    if state in _PASSING:
        return BatchRetry(_said(error))
    refused = as_trouble(error)
    return BatchRefused(refused, everybody=isinstance(refused, StorageFull | StorageReadOnly | NotSupported))


def as_connect_error(error: BaseException) -> BatchRefused | BatchRetry:
    """The error for a batch that was not sent, because there is no connection."""
    state = sqlstate(error)
    if state is None or state in _PASSING | _LOST or state.startswith("08"):
        return BatchRetry(_said(error))
    return BatchRefused(StorageRefused(f"The log's database lets nobody in: {_said(error)}."), everybody=True)


def sqlstate(error: BaseException) -> str | None:
    """The code that the server sent, if it was the server."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(error, asyncpg.PostgresError) and isinstance(state, str) else None


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, with whatever was on it."""
    if isinstance(error, asyncpg.InternalClientError | OSError | TimeoutError):
        return True
    state = sqlstate(error)
    if state is None:
        return isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)
    if state.startswith(_LOCKED_OUT):
        return False
    return state.startswith("08") or state in _LOST or getattr(error, "severity", None) in {"FATAL", "PANIC"}


def conflict(  # noqa: PLR0911 - one for each error
    facts: Mapping[str, Any], stream: Stream | None = None
) -> HeadwaterError:
    """The refusal that the append function has put into words."""
    match facts.get("error"):
        case "WrongVersion":
            where = stream or Stream(*facts["at"])
            return WrongVersion(where, facts["expected"], facts["actual"])
        case "EventIdReused":
            return EventIdReused(UUID(facts["event_id"]), facts["position"])
        case "MixedIds":
            return MixedIds(facts["known"], facts["new"])
        case "FenceLost":
            return FenceLost(facts["key"], facts["expected"], facts["actual"])
        case "KeyTaken":
            return KeyTaken(facts["key"], facts["holder"])
        case "KeyNotHeld":
            return KeyNotHeld(facts["key"], facts["expected"], facts["holder"])
        case "RowGone":
            return RowGone(facts["kind"], facts["key"])
        case _:
            return StorageRefused(
                f"The log's database refused for a reason that this code does not know: {facts}."
            )


def _said(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__

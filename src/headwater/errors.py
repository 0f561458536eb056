"""The one tree of errors. A message says what happened, to what, and what to do; facts are attributes.

HeadwaterError
├── Refused                 bad input, turned away at the door; nothing was written
│   ├── InvalidName         a name or id that is not an identifier
│   ├── PayloadRefused      NaN, naive datetimes, too large, too deep, not JSON
│   ├── EventTypeError      an event model or upcaster that is declared wrongly
│   ├── CursorRefused       a cursor of another log, or from before a restore
│   ├── SettingRefused      a variable of the environment that makes no sense
│   └── NotSupported        this backend or connection cannot do that
├── Conflict                the log is not as the caller expected; nothing of the call was written
│   ├── WrongVersion        the stream is at another version
│   ├── EventIdReused       an id is known with another stream or content
│   ├── MixedIds            some ids of the call are known and some are new
│   ├── KeyTaken            a unique key is held already
│   ├── KeyNotHeld          a key is not held by the holder that was named
│   ├── FenceLost           the fence was raised by somebody else
│   └── RowGone             a due or ready row is not there (any more)
├── Undecodable             stored bytes that this code cannot read
│   ├── UnknownEventType    no model is registered for the type
│   ├── NewerSchema         written by newer code than this
│   └── PayloadMissing      the read left the payload out, or it is lost
├── ChainBroken             verification found an altered, removed or swapped event
└── Trouble                 the storage has a problem
    ├── LogUnavailable      cannot be reached; nothing was written
    ├── OutcomeUnknown      the connection was lost in mid-commit: append again with the same ids
    ├── StorageFull         no space left
    ├── StorageReadOnly     the file or the database is read-only
    ├── StorageRefused      a permanent error of the database
    ├── SchemaOutdated      the database's schema is older or newer than this code
    └── LogClosed           the log was closed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HeadwaterError(Exception):
    """Headwater could not do what was asked."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").split("\n\n")[0])

    def __init_subclass__(cls) -> None:
        """Give every error the snake_case code by which the CLI and HTTP name it."""
        cls.code = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


class Refused(HeadwaterError):
    """The request was refused; nothing was written."""


class InvalidName(Refused):
    """A name is not an identifier."""

    def __init__(self, what: str, name: object, rule: str) -> None:
        super().__init__(f"{what} {_short(name)} is not valid: {rule}.")
        self.what, self.name = what, name


class PayloadRefused(Refused):
    """A payload cannot be stored as it is."""


class EventTypeError(Refused):
    """An event model is not declared as the log needs it."""


class CursorRefused(Refused):
    """A cursor does not belong to this log."""


class SettingRefused(Refused):
    """A setting in the environment makes no sense."""

    def __init__(self, variable: str, value: str, wanted: str) -> None:
        super().__init__(f"{variable} is {_short(value)}. Set it to {wanted}, or unset it.")
        self.variable, self.value, self.wanted = variable, value, wanted


class NotSupported(Refused):
    """This backend cannot do that."""


class Conflict(HeadwaterError):
    """The log is not as expected; nothing of the call was written."""


class WrongVersion(Conflict):
    """A stream is at another version than expected."""

    def __init__(self, stream: object, expected: int, actual: int) -> None:
        wanted = f"expected at version {expected}" if expected else "expected not to exist"
        super().__init__(
            f"Stream {stream} was {wanted}, but is at version {actual}. Read it again and decide anew."
        )
        self.stream, self.expected, self.actual = stream, expected, actual


class EventIdReused(Conflict):
    """An event id is in the log already, with another stream or content."""

    def __init__(self, event_id: object, position: int) -> None:
        super().__init__(
            f"Event id {event_id} was used before, at position {position}, for another stream or content. "
            "Make a new id for a new fact."
        )
        self.event_id, self.position = event_id, position


class MixedIds(Conflict):
    """Some event ids of a call are known and some are new."""

    def __init__(self, known: int, new: int) -> None:
        super().__init__(
            f"{known} event(s) of this call are in the log already and {new} are not. "
            'If that is meant, write with known="skip".'
        )
        self.known, self.new = known, new


class KeyTaken(Conflict):
    """A unique key is held already."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(f"Key {key!r} is held by {holder!r}.")
        self.key, self.holder = key, holder


class KeyNotHeld(Conflict):
    """A key is not held by the holder that was named."""

    def __init__(self, key: str, expected: str, holder: str | None) -> None:
        now = f"held by {holder!r}" if holder is not None else "held by nobody"
        super().__init__(f"Key {key!r} was expected to be held by {expected!r}, but is {now}.")
        self.key, self.expected, self.holder = key, expected, holder


class FenceLost(Conflict):
    """A fence was raised by somebody else."""

    def __init__(self, key: str, expected: int, actual: int | None) -> None:
        now = f"at epoch {actual}" if actual is not None else "gone"
        super().__init__(
            f"Fence {key!r} was expected at epoch {expected}, but is {now}: somebody else owns it. Let go."
        )
        self.key, self.expected, self.actual = key, expected, actual


class RowGone(Conflict):
    """A due or ready row is not there."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"There is no {kind} row {key!r} (any more).")
        self.kind, self.key = kind, key


class Undecodable(HeadwaterError):
    """Stored bytes cannot be read by this code."""


class UnknownEventType(Undecodable):
    """No model is registered for an event type."""

    def __init__(self, type: str) -> None:
        super().__init__(
            f"No model is registered for event type {type!r}. Register it, or read the event raw."
        )
        self.type = type


class NewerSchema(Undecodable):
    """An event was written by newer code than this."""

    def __init__(self, type: str, stored: int, known: int) -> None:
        super().__init__(
            f"Event type {type!r} is stored in schema version {stored}, but this code knows {known}. Deploy newer code."
        )
        self.type, self.stored, self.known = type, stored, known


class PayloadMissing(Undecodable):
    """An event's payload is not there: the read left it out, or it is lost."""


class ChainBroken(HeadwaterError):
    """The log's chain does not verify."""

    def __init__(self, position: int, why: str, *, shard: int = 0) -> None:
        super().__init__(f"The chain breaks at position {position} of shard {shard}: {why}.")
        self.position, self.shard, self.why = position, shard, why


class Trouble(HeadwaterError):
    """The storage has a problem."""


class LogUnavailable(Trouble):
    """The log cannot be reached; nothing was written."""


class OutcomeUnknown(Trouble):
    """It is not known whether the call was written. Append it again with the same ids: it is written once."""

    def __init__(self, message: str | None = None, event_ids: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)


class StorageFull(Trouble):
    """There is no space left on the log's disk; nothing was written. Free some, and append again."""


class StorageReadOnly(Trouble):
    """The log's file or database is read-only; nothing was written."""


class StorageRefused(Trouble):
    """The database refused the call for good; nothing was written."""


class SchemaOutdated(Trouble):
    """The database's schema does not fit this code. Run `headwater migrate`."""


class LogClosed(Trouble):
    """The log was closed."""


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

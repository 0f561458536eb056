"""Side rows: what succeeds or fails with an append, in its transaction.

They are the seam on which runs, hooks, timers and queues are built. The log knows nothing of what they mean: a key is
unique while it is held, a fence has an epoch that only rises, a due row has a time, a ready row is work in a queue, a
wake mark tells a fence's owner that something came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headwater.events.envelope import Stream


@dataclass(frozen=True, slots=True)
class TakeKey:
    """Take a unique key; `KeyTaken` if it is held, by whomever."""

    key: str
    holder: str


@dataclass(frozen=True, slots=True)
class NeedKey:
    """Go on only while `holder` holds the key; else `KeyNotHeld`."""

    key: str
    holder: str


@dataclass(frozen=True, slots=True)
class GiveKey:
    """Give a key back. `KeyNotHeld` if `holder` does not hold it, unless `missing_ok`."""

    key: str
    holder: str
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class OpenFence:
    """Make a fence; nothing if it is there. At epoch 0, owned by nobody; with a `holder`, at epoch 1 and theirs.

    The `label` says who may take it. A key whose fence was closed must not be opened again, since epochs would start
    anew and an old owner could pass.
    """

    key: str
    label: str = ""
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """Go on only while the fence is at this epoch; else `FenceLost`. Locks the fence until the append has ended."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class CloseFence:
    """Remove a fence for good; nothing if it is gone."""

    key: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Leave a wake mark for the fence's owner; if the fence is gone, nothing, or `FenceLost` if it is `needed`."""

    key: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Trust:
    """A fence is no suspect any more: it has made progress since its last owner died (see `ownership`)."""

    key: str


@dataclass(frozen=True, slots=True)
class SetDue:
    """Set (or move) a due row."""

    key: str
    at: datetime
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class ClearDue:
    """Remove a due row; `RowGone` if there is none, unless `missing_ok`: so exactly one of two takers succeeds."""

    key: str
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class PutReady:
    """Put (or replace) a ready row of a queue, ordered by priority (lowest first), then time. Nobody holds it then.

    With a `claim`, it is put back by whoever has claimed it: `RowGone` if the row is not there under that claim. A
    replaced row goes on counting its claims, so that a claim never stands for two.
    """

    queue: str
    key: str
    data: bytes = b""
    priority: int = 0
    at: datetime | None = None
    claim: int | None = None


@dataclass(frozen=True, slots=True)
class ClearReady:
    """Remove a ready row; `RowGone` if there is none (under that `claim`, if one is given), unless `missing_ok`."""

    queue: str
    key: str
    missing_ok: bool = False
    claim: int | None = None


@dataclass(frozen=True, slots=True)
class NeedReady:
    """Go on only while a ready row is there under this claim; else `RowGone`."""

    queue: str
    key: str
    claim: int


@dataclass(frozen=True, slots=True)
class WithdrawReady:
    """Remove a ready row if nobody holds it; else nothing: who has begun it may still end it."""

    queue: str
    key: str


@dataclass(frozen=True, slots=True)
class PutEntry:
    """Put (or replace) what a list shows of a thing; it keeps the time of its first entry."""

    list: str
    key: str
    label: str
    status: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class PutState:
    """Put the state that a projection's fold makes of a stream at a version, where states of that fold are in use.

    It goes with a write to that stream that expects a version and leads to this one. So whoever folded the state has
    seen every event that it stands for.
    """

    projection: str
    fold: int
    stream: Stream
    version: int
    state: bytes

    @property
    def key(self) -> str:
        return f"{self.stream.type}/{self.stream.id}"


SideRow = (
    TakeKey
    | NeedKey
    | GiveKey
    | OpenFence
    | Fence
    | CloseFence
    | Wake
    | Trust
    | SetDue
    | ClearDue
    | PutReady
    | ClearReady
    | NeedReady
    | WithdrawReady
    | PutEntry
    | PutState
)


def claims(row: SideRow) -> tuple[tuple[str, ...], bool]:  # noqa: PLR0911 - one for each kind
    """The row that a side row names, and whether it changes it: what one batch may not do twice (see `group`)."""
    match row:
        case Fence(key, _) | Wake(key) | Trust(key):  # the commonest first
            return ("fence", key), False
        case NeedKey(key, _):
            return ("key", key), False
        case TakeKey(key, _) | GiveKey(key, _):
            return ("key", key), True
        case OpenFence(key) | CloseFence(key):
            return ("fence", key), True
        case SetDue(key) | ClearDue(key):
            return ("due", key), True
        case NeedReady(queue, key, _):
            return ("ready", queue, key), False
        case PutReady(queue, key) | ClearReady(queue, key) | WithdrawReady(queue, key):
            return ("ready", queue, key), True
        case PutEntry(list, key):
            return ("entry", list, key), True
        case PutState(projection):
            return ("state", projection, row.key), True


def is_repeatable(row: SideRow) -> bool:
    """Whether a row may be written again without harm: only such may go without an event, whose id tells a retry."""
    match row:
        case PutEntry() | CloseFence() | WithdrawReady() | GiveKey(_, _, True) | ClearDue(_, True):
            return True
        case _:
            return False

"""The side rows of a call as columns for the functions in sql/functions/30_side.sql.

A row that is guarded and changed at once may become two: the guards are all judged before anything changes.
"""

from __future__ import annotations

from headwater.events.clock import to_us
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    NeedReady,
    OpenFence,
    PutEntry,
    PutReady,
    PutState,
    SetDue,
    SideRow,
    TakeKey,
    Trust,
    Wake,
    WithdrawReady,
)

# Kind, key, name, number, priority, data, label, status.
Side = tuple[str, str, str | None, int | None, int | None, bytes | None, str | None, str | None]


def flat_rows(rows: list[SideRow]) -> list[Side]:
    """The side rows of a call. The database closes fences first, then wakes, then opens, then wakes the opened."""
    moved = {row.key for row in rows if isinstance(row, OpenFence | CloseFence)}
    flat: list[Side] = []
    if not moved:
        for row in rows:
            _flatten(row, flat)
        return flat
    opened: dict[str, tuple[OpenFence, int]] = {}
    closed = {row.key for row in rows if isinstance(row, CloseFence)}
    for row in rows:
        match row:
            case OpenFence(key):
                opened.setdefault(key, (row, 0))
            case CloseFence(key):
                opened.pop(key, None)
                _flatten(row, flat)
            case Wake(key, needed) if key in moved:
                if needed:
                    flat.append(_side("need_fence", key))
                if key in opened:
                    fence, wakes = opened[key]
                    opened[key] = fence, wakes + 1
                elif key not in closed:  # what a fence that this call closes had heard is gone with it
                    flat.append(_side("wake", key))
            case _:
                _flatten(row, flat)
    for key, (fence, wakes) in opened.items():
        _flatten(fence, flat)
        flat += [_side("wake_opened", key)] * wakes
    return flat


def _flatten(row: SideRow, flat: list[Side]) -> None:  # noqa: PLR0912 - one for each kind
    match row:
        case Fence(key, epoch):
            flat.append(_side("fence", key, number=epoch))
        case PutEntry(list, key, label, status, data):
            flat.append(_side("put_entry", key, list, data=data, label=label, status=status))
        case PutState(projection, fold, stream, version, state):
            flat.append(_side("put_state", row.key, projection, version, fold, state, stream.type))
        case OpenFence(key, label, holder):
            flat.append(_side("open", key, holder, label=label or None))
        case CloseFence(key):
            flat.append(_side("close", key))
        case Wake(key, needed):
            flat.append(_side("wake!" if needed else "wake", key))
        case Trust(key):
            flat.append(_side("trust", key))
        case TakeKey(key, holder):
            flat.append(_side("take", key, holder))
        case NeedKey(key, holder):
            flat.append(_side("need", key, holder))
        case GiveKey(key, holder, missing_ok):
            flat.append(_side("give?" if missing_ok else "give", key, holder))
        case SetDue(key, at, data):
            flat.append(_side("set_due", key, number=to_us(at), data=data))
        case ClearDue(key, missing_ok):
            flat.append(_side("clear_due?" if missing_ok else "clear_due", key))
        case PutReady(queue, key, data, priority, at, claim):
            if claim is not None:
                flat.append(_side("need_ready", key, queue, claim))
            flat.append(_side("put_ready", key, queue, None if at is None else to_us(at), priority, data))
        case ClearReady(queue, key, missing_ok, claim):
            flat.append(_side("clear_ready?" if missing_ok else "clear_ready", key, queue, claim))
        case NeedReady(queue, key, claim):
            flat.append(_side("need_ready", key, queue, claim))
        case WithdrawReady(queue, key):
            flat.append(_side("withdraw_ready", key, queue))


def _side(
    kind: str,
    key: str,
    name: str | None = None,
    number: int | None = None,
    priority: int | None = None,
    data: bytes | None = None,
    label: str | None = None,
    status: str | None = None,
) -> Side:
    return kind, key, name, number, priority, data, label, status

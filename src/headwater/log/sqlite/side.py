"""Side rows: what guards ask of them, and what an accepted call does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headwater.events.clock import to_us
from headwater.events.envelope import Stream
from headwater.log.port import DueRow, FenceRow, HeldKey, ReadyRow, SnapshotRow
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
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.statements import statements

SQL: Final = statements("side.sql")
_LAST: Final = chr(0x10FFFF)
_FOREVER: Final = 2**63 - 1


class SideTables:
    """The side tables on one connection, inside the transaction that is open."""

    def __init__(self, connection: Database) -> None:
        self._execute = connection.execute

    def epoch(self, tenant: str, key: str) -> int | None:
        row = self._execute(SQL["epoch"], (tenant, key)).fetchone()
        return row[0] if row else None

    def holder(self, tenant: str, key: str) -> str | None:
        row = self._execute(SQL["holder"], (tenant, key)).fetchone()
        return row[0] if row else None

    def is_due(self, tenant: str, key: str) -> bool:
        return self._execute(SQL["is_due"], (tenant, key)).fetchone() is not None

    def claim_of(self, tenant: str, queue: str, key: str) -> int | None:
        row = self._execute(SQL["claim_of"], (tenant, queue, key)).fetchone()
        return row[0] if row else None

    def apply(self, tenant: str, row: SideRow, now_us: int) -> None:  # noqa: PLR0912 - one for each kind
        """What an accepted call's row does."""
        match row:
            case Fence() | NeedKey() | NeedReady():  # guards, and the commonest first
                pass
            case TakeKey(key, holder):
                self._execute(SQL["take_key"], (tenant, key, holder))
            case GiveKey(key, holder):
                self._execute(SQL["give_key"], (tenant, key, holder))
            case OpenFence(key, label, owner):
                self._execute(SQL["open_fence"], (tenant, key, label, 1 if owner else 0, owner))
            case CloseFence(key):
                self._execute(SQL["close_fence"], (tenant, key))
            case Wake(key):
                self._execute(SQL["wake"], (tenant, key, now_us))
            case Trust(key):
                self._execute(SQL["trust"], (tenant, key))
            case SetDue(key, at, data):
                self._execute(SQL["set_due"], (tenant, key, to_us(at), data))
            case ClearDue(key):
                self._execute(SQL["clear_due"], (tenant, key))
            case PutReady(queue, key, data, priority, at):
                when = now_us if at is None else to_us(at)
                self._execute(SQL["put_ready"], (tenant, queue, key, data, priority, when))
            case ClearReady(queue, key, _, claim):
                self._execute(SQL["clear_ready"], (tenant, queue, key, claim))
            case WithdrawReady(queue, key):
                self._execute(SQL["withdraw_ready"], (tenant, queue, key))
            case PutEntry(name, key, label, status, data):
                self._execute(SQL["put_entry"], (tenant, name, key, label, status, now_us, data))
            case PutState(projection, fold, stream, version, state):
                of = (tenant, projection, row.key, fold, version, state, stream.type, stream.id)
                self._execute(SQL["put_state"], of)

    def save_snapshot(self, row: SnapshotRow, keep: int) -> None:
        stream = (row.stream.tenant, row.stream.type, row.stream.id, row.name)
        self._execute(
            SQL["save_snapshot"],
            (*stream, row.version, row.fold_version, row.chain, row.encoding, row.state),
        )
        self._execute(SQL["prune_snapshots"], (*stream, keep))

    def load_snapshot(
        self, stream: Stream, name: str, fold_version: int, to_version: int | None
    ) -> SnapshotRow | None:
        """The newest that fits a fold and the log."""
        newest = _FOREVER if to_version is None else to_version
        key = (stream.tenant, stream.type, stream.id, name, fold_version, newest)
        row = self._execute(SQL["load_snapshot"], key).fetchone()
        return SnapshotRow(stream, name, fold_version, *row) if row else None

    def keys(self, tenant: str, prefix: str, limit: int) -> list[HeldKey]:
        rows = self._execute(SQL["keys"], (tenant, prefix, prefix + _LAST, limit))
        return [HeldKey(*row) for row in rows]

    def fences(self, tenant: str, keys: Sequence[str]) -> list[FenceRow]:
        found = (self._execute(SQL["fence"], (tenant, key)).fetchone() for key in sorted(set(keys)))
        return [FenceRow(*row) for row in found if row]

    def due(self, tenant: str | None, limit: int, until: int | None) -> list[DueRow]:
        bounds = (_FOREVER if until is None else until, limit)
        if tenant is None:
            rows = self._execute(SQL["due"], bounds)
        else:
            rows = self._execute(SQL["due_of_tenant"], (*bounds, tenant))
        return [DueRow(*row) for row in rows]

    def ready(self, tenant: str | None, queue: str, limit: int) -> list[ReadyRow]:
        if tenant is None:
            rows = self._execute(SQL["ready"], (queue, limit))
        else:
            rows = self._execute(SQL["ready_of_tenant"], (queue, limit, tenant))
        return [ReadyRow(*row) for row in rows]

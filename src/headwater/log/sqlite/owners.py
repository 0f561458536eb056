"""Who owns what, in the tables: the statements of `ownership`, on one connection.

A file has one writer, so whatever looks and then takes in one write transaction has taken what it saw. What waits is
found by indexes that hold nothing else. Where an order runs over several labels, statuses, tenants or priorities, each
is asked for its first, and those are merged: a statement over all of them would sort everything that waits.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final, cast

from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import Claimed, Release
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.statements import statements

SQL: Final = statements("owners.sql")
_FOREVER: Final = 2**63 - 1


class Owners:
    """Workers and what they hold, on one connection, inside the transaction that is open."""

    def __init__(self, connection: Database) -> None:
        self._execute = connection.execute

    def claim(self, tenant: str, keys: Sequence[str], holder: str) -> list[Claimed]:
        """Raise the fences that are there."""
        claimed = (self._execute(SQL["claim"], (tenant, key, holder)).fetchall() for key in keys)
        return [Claimed(*row) for rows in claimed for row in rows]

    def release(self, rows: Sequence[Release]) -> list[bool]:
        """Let fences go that are as they were given; whether each was."""
        return [bool(self._execute(SQL["release"], row).fetchall()) for row in rows]

    # Workers

    def enrol(self, worker: WorkerRow, now_us: int) -> None:
        self._execute(SQL["enrol"], (worker.id, worker.place, worker.lease_us, worker.data, now_us))

    def beat(self, worker: str, data: bytes, now_us: int) -> int | None:
        return now_us if self._execute(SQL["beat"], (worker, data, now_us)).fetchall() else None

    def workers(self) -> list[WorkerRow]:
        return [WorkerRow(*row) for row in self._execute(SQL["workers"])]

    def held(self) -> dict[str, int]:
        return dict(self._execute(SQL["held"]))

    def held_ready(self, holder: str) -> list[HeldReady]:
        return [HeldReady(*row) for row in self._execute(SQL["held_ready"], (holder,))]

    def sweep(self, dead: Collection[str], left: Collection[str], now_us: int) -> Swept:
        """Free what is held by whoever is no worker, or is one no more."""
        enrolled = {row.id: row for row in self.workers()}
        expired = {row.id for row in enrolled.values() if row.beat_at + row.lease_us <= now_us}
        gone = (expired | {*dead, *left}) & enrolled.keys()
        for worker in gone:
            self._execute(SQL["dismiss"], (worker,))
        there = enrolled.keys() - gone
        fences = ready = 0
        for holder in [*self._holders("next_holder")]:
            if holder not in there:
                count = self._execute(SQL["count_held"], (holder,)).get
                if holder in gone - {*left}:
                    self._execute(SQL["suspect_held"], (holder, count))
                self._execute(SQL["free_held"], (holder, now_us))
                fences += count
        for holder in [*self._holders("next_ready_holder")]:
            if holder not in there:
                ready += len(self._execute(SQL["free_ready"], (holder,)).fetchall())
        return Swept(sorted(gone), fences, ready)

    def _holders(self, statement: str) -> Iterator[str]:
        found = self._execute(SQL[statement], ("",)).fetchone()
        while found:
            yield found[0]
            found = self._execute(SQL[statement], found).fetchone()

    def is_enrolled(self, worker: str) -> bool:
        return self._execute(SQL["worker"], (worker,)).fetchone() is not None

    # Fences

    def waiting(
        self, labels: Collection[str], limit: int, without: Collection[str], *, suspects: bool
    ) -> list[tuple[str, str]]:
        """The fences to be taken next: tenant and key."""
        others = json.dumps([*without])
        values: tuple[int, ...] = (limit,)
        if suspects:
            firsts = [self._execute(SQL["first_suspect"], (label, others)).fetchone() for label in {*labels}]
            trial = min(filter(None, firsts), default=(0,))[-1]
            values = (min(limit, trial), trial)
        statement = SQL["suspects" if suspects else "free"]
        found = [self._execute(statement, (label, others, *values)).fetchall() for label in {*labels}]
        return [(tenant, key) for _, tenant, key in islice(merge(*found), values[0])]

    def take(
        self, holder: str, labels: Collection[str], limit: int, without: Collection[str], *, suspects: bool
    ) -> list[Taken]:
        """Claim what waits, for a worker that is enrolled."""
        if not self.is_enrolled(holder):
            return []
        waiting = self.waiting(labels, limit, without, suspects=suspects)
        return [Taken(*row) for place in waiting for row in self._execute(SQL["take"], (*place, holder))]

    def unseen(self, holder: str, limit: int) -> list[Woken]:
        return [Woken(*row) for row in self._execute(SQL["woken"], (holder, limit))]

    def woken(self, holder: str, limit: int) -> list[Woken]:
        """What has come in for a holder, once."""
        found = self.unseen(holder, limit)
        for fence in found:
            self._execute(SQL["see"], (fence.tenant, fence.key))
        return found

    # Ready rows

    def due_ready(self, queue: str, limit: int, now_us: int) -> list[tuple[str, str]]:
        """The rows of a queue to be taken next: tenant and key."""
        found: list[tuple[str, str]] = []
        step = self._execute(SQL["next_priority"], (queue, -_FOREVER)).fetchone()
        while step and len(found) < limit:
            rows = self._execute(SQL["due_ready"], (queue, *step, now_us, limit - len(found)))
            found += cast("list[tuple[str, str]]", rows.fetchall())
            step = self._execute(SQL["next_priority"], (queue, *step)).fetchone()
        return found

    def any_ready(self, wanted: Mapping[str, int], now_us: int) -> bool:
        return any(self.due_ready(queue, 1, now_us) for queue in wanted)

    def take_ready(self, holder: str, wanted: Mapping[str, int], now_us: int) -> list[TakenReady]:
        """Claim what is due, for a worker that is enrolled."""
        if not self.is_enrolled(holder):
            return []
        return [
            TakenReady(*row)
            for queue, limit in sorted(wanted.items())
            for tenant, key in self.due_ready(queue, limit, now_us)
            for row in self._execute(SQL["take_ready"], (tenant, queue, key, holder))
        ]

    # Lists

    def entries(
        self,
        tenant: str | None,
        list: str,
        label: str | None,
        statuses: Collection[str],
        keys: Collection[str],
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[EntryRow]:
        """A page of a list."""
        place = before or (_FOREVER, "")
        tenants = [tenant] if tenant is not None else [row[0] for row in self._execute(SQL["tenants"])]
        parts: Iterable[Iterable[EntryRow]]
        if keys:
            rows = [row for t in tenants for key in {*keys} for row in self._rows("entry", t, list, key)]
            parts = (
                [row]
                for row in rows
                if (row.at, row.key) < place
                and label in {None, row.label}
                and (not statuses or row.status in statuses)
            )
        elif statuses:
            parts = [
                self._rows("entries_of_status", t, list, *place, label, limit, status)
                for t in tenants
                for status in {*statuses}
            ]
        elif label is not None:
            parts = [self._rows("entries_of_label", t, list, *place, label, limit) for t in tenants]
        else:
            parts = [self._rows("entries", t, list, *place, limit) for t in tenants]
        newest = merge(*parts, key=lambda row: (row.at, row.key), reverse=True)
        return [*islice(newest, limit)]

    def _rows(self, statement: str, *values: Any) -> list[EntryRow]:
        return [EntryRow(*row) for row in self._execute(SQL[statement], values)]

"""Where positions are given: one batch, judged and written under the file's write lock.

Promise. What `rules.judge` says of the batch, for the log as it is under the lock, is what is written; durable when
it returns.

Why it is right. `BEGIN IMMEDIATE` takes the one write lock that a SQLite file has, and holds it until the commit. The
tail is read under it, so positions continue it without a gap, and they become visible in the order in which they were
given.

Two things are saved, and change nothing:

- *Ids are not looked up first.* A batch is judged as if no id were known. If every call is accepted and every row
  goes in, the unique index has shown that no id was known; then the look-up would have found nothing, and the
  judgement is the same. If some are refused, their ids are looked up: if none is known, the judgement was the right
  one, since `judge` learns of ids only through `known`. In every other case the batch is rolled back and judged with
  look-ups. (Ids that two calls of a batch share would escape this argument; the port rules them out.)
- *The tail and stream versions are remembered* while nobody else has written. SQLite's data version of the
  connection, read under the lock, is what it was after our last commit if and only if no other connection has
  committed since. A rolled back batch forgets everything.

Rejected: `AUTOINCREMENT` positions (a rolled back transaction may leave a gap); a head row (one more page a commit);
`INSERT ... ON CONFLICT DO NOTHING` for known ids (it would hide another stream or digest under the same id).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import apsw

from headwater.errors import HeadwaterError
from headwater.events.clock import Clock
from headwater.events.digest import GENESIS
from headwater.events.envelope import Stream
from headwater.log import rules
from headwater.log.port import Call, Outcome, Placed
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.read import version_of
from headwater.log.sqlite.side import SideTables
from headwater.log.sqlite.statements import statements
from headwater.log.sqlite.transact import transact

_SQL = statements("append.sql")
_TAIL: Final = _SQL["tail"]
_KNOWN: Final = _SQL["known"]
_INSERT: Final = _SQL["insert_event"]
_TENANT: Final = _SQL["insert_tenant"]
_STREAMS = 20_000


class _KnownAfterAll(Exception):
    """The batch names an id that is in the log: judge it again, with look-ups."""


class Appender:
    """Appends on one connection; also the judge's view of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tail: rules.Tail | None = None
        self._versions: dict[Stream, int] = {}
        self._tenants: set[str] = set()
        self._data_version = -1
        self._careful = False
        self._connection: Database
        self._side: SideTables

    def append(self, connection: Database, calls: Sequence[Call]) -> list[Outcome]:
        """Judge and write a batch in a transaction of its own."""
        try:
            outcomes = transact(connection, lambda c: self.write(c, calls))
        except _KnownAfterAll:
            self.forget()
            self._careful = True
            try:
                outcomes = transact(connection, lambda c: self.write(c, calls))
            finally:
                self._careful = False
        except BaseException:
            self.forget()
            raise
        self._data_version = connection.data_version()
        return outcomes

    def append_all(self, connection: Database, calls: Sequence[Call]) -> None:
        """Write calls in the transaction that is open, each upon the one before; the first refusal is raised."""
        self.forget()
        self._careful = True
        try:
            for call in calls:
                for outcome in self.write(connection, [call]):
                    if isinstance(outcome, HeadwaterError):
                        raise outcome
        finally:
            self._careful = False
            self.forget()

    def write(self, connection: Database, calls: Sequence[Call]) -> list[Outcome]:
        """Judge and write under the lock that is held."""
        self._connection, self._side = connection, SideTables(connection)
        if connection.data_version() != self._data_version:
            self.forget()
            self._data_version = connection.data_version()
        judgement = rules.judge(calls, self, self._read_tail(), self._clock.now_us())
        if not self._careful:
            self._check_refused(calls, judgement.outcomes)
        self._insert(judgement)
        for tenant, row in judgement.side:
            self._side.apply(tenant, row, judgement.tail.recorded_at)
        if judgement.rows or judgement.side:
            self._remember(calls, judgement)
        return judgement.outcomes

    def forget(self) -> None:
        """What was remembered may not be so."""
        self._tail = None
        self._versions.clear()
        self._tenants.clear()
        self._data_version = -1

    def _read_tail(self) -> rules.Tail:
        if self._tail is None:
            row = self._connection.execute(_TAIL).fetchone()
            self._tail = rules.Tail(*row) if row else rules.Tail(0, GENESIS, 0)
        return self._tail

    def _check_refused(self, calls: Sequence[Call], outcomes: Sequence[Outcome]) -> None:
        for call, outcome in zip(calls, outcomes, strict=True):
            if not isinstance(outcome, Placed) and self._look_up(
                call.tenant, (row.event_id for write in call.writes for row in write.rows)
            ):
                raise _KnownAfterAll

    def _insert(self, judgement: rules.Judgement) -> None:
        try:
            if len(judgement.rows) == 1:
                self._connection.execute(_INSERT, judgement.rows[0])
            else:
                self._connection.executemany(_INSERT, judgement.rows)
        except apsw.ConstraintError:
            if self._careful:
                raise
            raise _KnownAfterAll from None

    def _remember(self, calls: Sequence[Call], judgement: rules.Judgement) -> None:
        if judgement.rows:
            self._tail = judgement.tail
        if len(self._versions) > _STREAMS:
            self._versions.clear()
        for call, outcome in zip(calls, judgement.outcomes, strict=True):
            if not isinstance(outcome, Placed):
                continue
            if call.tenant not in self._tenants:
                self._connection.execute(_TENANT, (call.tenant,))
                self._tenants.add(call.tenant)
            end = 0
            for write in call.writes:
                end += len(write.rows)
                if self._careful:
                    self._versions.pop(write.stream, None)
                elif write.rows:
                    self._versions[write.stream] = outcome.versions[end - 1]

    # What the judge asks

    def known(self, tenant: str, ids: Iterable[UUID]) -> Mapping[UUID, rules.Known]:
        return self._look_up(tenant, ids) if self._careful else {}

    def _look_up(self, tenant: str, ids: Iterable[UUID]) -> dict[UUID, rules.Known]:
        there: dict[UUID, rules.Known] = {}
        for id in ids:
            row = self._connection.execute(_KNOWN, (tenant, id)).fetchone()
            if row:
                position, version, stream_type, stream_id, digest = row
                there[id] = rules.Known(position, version, Stream(stream_type, stream_id, tenant), digest)
        return there

    def version(self, stream: Stream) -> int:
        version = self._versions.get(stream)
        if version is None:
            self._versions[stream] = version = version_of(self._connection, stream)
        return version

    def epoch(self, tenant: str, key: str) -> int | None:
        return self._side.epoch(tenant, key)

    def holder(self, tenant: str, key: str) -> str | None:
        return self._side.holder(tenant, key)

    def is_due(self, tenant: str, key: str) -> bool:
        return self._side.is_due(tenant, key)

    def claim_of(self, tenant: str, queue: str, key: str) -> int | None:
        return self._side.claim_of(tenant, queue, key)

"""States in ClickHouse: for read models that people ask with SQL.

    states = ClickHouseStates("clickhouse://user:password@host:8123/database")
    app.project(Projection("spent", ..., store=states))

Promise. That of every store (see `stores`), but that a state may be ahead of the checkpoint: it is then the fold of its
key's events up to its own `position`, and what comes up to there again is skipped (see `folding`).

How it lies. ClickHouse has no transactions, so what must move in one is in the log's own database: checkpoints, leases,
and which keys are parked or asked for. The states are rows in ClickHouse, and of a key's rows the one of the highest
version counts: the epoch of the lease, then a counter of the writer. `save` writes states first, then the checkpoint.

Why it is right.

- A death, or a lost answer, between the two: states are ahead. Whoever folds next reads them and skips what they hold,
  or writes them again from what it has cached; a fold is a function, so both come to the same state. A write that was
  done by half is the same for the keys in it, and no write for the others.
- A writer whose lease was taken and who writes late: its rows have a lower epoch. They lose against all that was
  written since, a redrive included. Where nothing was, the key had no event in between that its row lacks: so the row
  is the state that it replaces, or one that is ahead.
- A redrive writes at the checkpoint, and puts a key back; its version still is the highest. Only such a write takes
  marks (parked, asked for) away. Readers look at marks before states, so who sees no mark sees what was folded.
- Numbers of generations are used again. So a generation has a token, which is drawn under the lease before its first
  write, and under which its rows are. Who still writes for one that is gone writes what nobody reads. Tokens that no
  generation has are swept when one is begun, swapped or dropped.
- A ClickHouse that comes back without its last writes, or empty: with each write goes a row that says how far it went,
  and the log's database knows how far that must be. Where it is less, reads fail, and the next who takes the lease
  begins at position 0 under a new token. So this costs lag, as with any store that forgets. Rows are on the disk before
  they are acknowledged, so a crash is no such case; on replicas, the servers' settings must make it so.

Checkpoints have a name of their own in the log's database: a projection that moves to another store and back finds
there the checkpoint of the states that are there.

Rejected: checkpoints in ClickHouse, which can compare nothing and swap nothing; positions as versions, as a redrive
could never put a key back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final, NamedTuple
from uuid import uuid4

from headwater.errors import CheckpointMoved, Trouble
from headwater.log.log import Log
from headwater.projections.clickhouse_table import MARK, Place, StatesTable
from headwater.projections.current import in_use
from headwater.projections.open import store_for
from headwater.projections.stores import (
    ELSEWHERE,
    FROM_START,
    NOT_ASKED,
    Checkpoint,
    Key,
    StateRow,
    Store,
)

_SUFFIX: Final = f"{ELSEWHERE}clickhouse"
_ALL: Final = 1_000_000
_AT_ONCE: Final = 1_000


class ClickHouseStates:
    """A ClickHouse that keeps states: what a projection's `store` takes. Close it when the program ends.

    `chdb:./folder` is the engine in this process, for tests and programs of one process; `chdb::memory:` forgets.
    """

    def __init__(self, url: str) -> None:
        self._table = StatesTable(url)

    def __call__(self, log: Log) -> ClickHouseStore:
        return ClickHouseStore(store_for(log), self._table, str(log.info.incarnation))

    async def close(self) -> None:
        await self._table.close()


class _Kept(NamedTuple):
    """Where a generation's states are, and how far the last write of some must have gone."""

    token: str
    position: int

    def row(self) -> StateRow:
        return StateRow(*MARK, 0, json.dumps(self).encode())

    @classmethod
    def of(cls, row: StateRow | None) -> _Kept | None:
        return None if row is None or row.state is None else cls(*json.loads(row.state))


class ClickHouseStore:
    """The states of one log's projections; `home` is the store in the log's own database."""

    def __init__(self, home: Store, table: StatesTable, log_id: str) -> None:
        self._home, self._table, self._log_id = home, table, log_id
        self._counted = count(time.time_ns())
        self._shown: dict[str, str] = {}

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        found = await self._home.checkpoints(None if name is None else _there(name))
        return [_ours(at) for at in found if at.name.endswith(_SUFFIX)]

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        await self._home.create(_there(name), generation, version, live=live)
        await self._sweep(name)

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        await self._table.make()
        at = await self._home.take(_there(name), generation, holder, lease_us)
        if at is None:
            return None
        try:
            return await self._checked(_ours(at))
        except BaseException:
            await self._home.release(_there(name), generation, holder)
            raise

    async def release(self, name: str, generation: int, holder: str) -> None:
        await self._home.release(_there(name), generation, holder)

    async def pause(self, name: str, *, paused: bool) -> bool:
        return await self._home.pause(_there(name), paused=paused)

    async def swap(self, at: Checkpoint) -> bool:
        if not await self._home.swap(_theirs(at)):
            return False
        with suppress(Trouble):  # whoever takes the lease shows it
            await self._show(at.name, at.generation)
        await self._sweep(at.name)
        return True

    async def drop(self, name: str, generation: int) -> None:
        await self._home.drop(_there(name), generation)
        await self._sweep(name)

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        before: _Kept | None = None
        while True:
            marks = await self._home.load(_there(name), generation, [MARK, *keys])
            kept = _Kept.of(marks.get(MARK))
            if kept is None or not keys:
                return {}
            states = await self._table.load(kept.token, [MARK, *keys])
            if _reaches(states, kept):
                found = [_merged(key, states.get(key), marks.get(key)) for key in keys]
                return {Key(row.tenant, row.key): row for row in found if row is not None}
            if kept == before:
                raise Trouble(
                    f"ClickHouse has lost states of projection {name!r}. The worker that folds it fills them again "
                    "from the log; if there is none, start one."
                )
            before = kept  # it may just have been put out of use

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        kept = await self._kept(at.name, at.generation)
        if kept is None:
            raise CheckpointMoved(at.name)
        marks: list[StateRow] = []
        if rows:
            place = Place(self._log_id, at.name, kept.token)
            await self._table.insert(place, at.epoch << 64 | next(self._counted), position, rows)
            redriven = position == at.position
            marks = [
                kept._replace(position=position).row(),
                *(_mark(row) for row in rows if redriven or row.parked or row.again),
            ]
        return await self._move(at, position, marks)

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        kept = await self._kept(name, generation)
        if kept is None:
            return []
        rows = await self._table.page(kept.token, after, limit)
        keys = [Key(row.tenant, row.key) for row in rows]
        marks = await self._home.load(_there(name), generation, keys)
        found = [_merged(key, row, marks.get(key)) for key, row in zip(keys, rows, strict=True)]
        return [row for row in found if row is not None]

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        marks = await self._home.parked(_there(name), generation, limit)
        keys = [Key(row.tenant, row.key) for row in marks]
        states = await self.load(name, generation, keys)
        return [states[key] for key in keys if key in states]

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        if again != FROM_START:
            return await self._home.request(_there(name), again, tenant=tenant, key=key)
        keys = await self._marked(name, tenant, key)
        tenants = {one.tenant for one in keys}
        return sum(
            [await self._home.request(_there(name), again, tenant=one, key=key) for one in sorted(tenants)]
        )

    async def _marked(self, name: str, tenant: str | None, key: str | None) -> Sequence[Key]:
        """Have the log's database know these keys of the generation in use, so that they can be asked for."""
        while True:
            live = await in_use(self, name)
            kept = None if live is None else await self._kept(name, live.generation)
            if live is None or kept is None:
                return []
            keys = await self._table.keys(kept.token, tenant, key)
            with suppress(CheckpointMoved):
                for begin in range(0, len(keys), _AT_ONCE):
                    await self._mark_all(live, keys[begin : begin + _AT_ONCE])
                return keys

    async def _mark_all(self, live: Checkpoint, keys: Sequence[Key]) -> None:
        at = await in_use(self, live.name)
        if at is None or at.generation != live.generation:
            raise CheckpointMoved(live.name)
        known = await self._home.load(_there(at.name), at.generation, keys)
        await self._move(at, at.position, [StateRow(*key, 0, None) for key in keys if key not in known])

    async def _checked(self, at: Checkpoint) -> Checkpoint:
        """Where the states are, under the lease: at the beginning, if they are not there."""
        kept = await self._kept(at.name, at.generation)
        if kept is None or not _reaches(await self._table.load(kept.token, [MARK]), kept):
            marked = await self._home.parked(_there(at.name), at.generation, limit=_ALL)
            forgotten = [_mark(row._replace(parked=0, error="", again=NOT_ASKED)) for row in marked]
            begun = [_Kept(uuid4().hex, 0).row(), *forgotten]
            at = await self._move(at, 0, begun)
            await self._sweep(at.name)
        if at.live:
            await self._show(at.name, at.generation)
        return at

    async def _move(self, at: Checkpoint, position: int, marks: Sequence[StateRow]) -> Checkpoint:
        """What the log's database knows, in one transaction of its own."""
        try:
            return _ours(await self._home.save(_theirs(at), position, marks))
        except CheckpointMoved:
            raise CheckpointMoved(at.name) from None

    async def _show(self, name: str, generation: int) -> None:
        kept = await self._kept(name, generation)
        if kept is not None and self._shown.get(name) != kept.token:
            await self._table.show(Place(self._log_id, name, kept.token))
            self._shown[name] = kept.token

    async def _sweep(self, name: str) -> None:
        """Remove what no generation has. What cannot be removed now is so the next time.

        A token is in the log's database before rows are under it: one that is not, when they are there, never will be.
        """
        with suppress(Trouble):
            there = await self._table.generations(self._log_id, name)
            for at in await self.checkpoints(name):
                kept = await self._kept(name, at.generation)
                there -= {kept.token} if kept is not None else set()
            for token in there:
                await self._table.forget(token)

    async def _kept(self, name: str, generation: int) -> _Kept | None:
        return _Kept.of((await self._home.load(_there(name), generation, [MARK])).get(MARK))


def _reaches(states: dict[Key, StateRow], kept: _Kept) -> bool:
    """Whether the last write that is known is there."""
    return not kept.position or (MARK in states and states[MARK].position >= kept.position)


def _merged(key: Key, state: StateRow | None, mark: StateRow | None) -> StateRow | None:
    """A key's state with what the log's database says of it."""
    if mark is None:
        return state
    if state is None and not mark.parked and not mark.again:
        return None
    there = state or StateRow(*key, 0, None)
    return there._replace(parked=mark.parked, error=mark.error, again=mark.again)


def _mark(row: StateRow) -> StateRow:
    return row._replace(position=0, state=None)


def _there(name: str) -> str:
    return name + _SUFFIX


def _ours(at: Checkpoint) -> Checkpoint:
    return at._replace(name=at.name.removesuffix(_SUFFIX))


def _theirs(at: Checkpoint) -> Checkpoint:
    return at._replace(name=_there(at.name))

"""Appends give what the reference gives, whatever is saved on the way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from headwater.errors import HeadwaterError, KeyTaken, NotSupported, StorageRefused, WrongVersion
from headwater.events.clock import ManualClock, SystemClock, from_us
from headwater.events.codec import Codec
from headwater.events.envelope import NewEvent, RawEvent, StoredRow, Stream
from headwater.events.ids import TimeOrderedIds, derived_id
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.port import BatchRefused, Call, Outcome, Placed, Query
from headwater.log.prepare import Limits, Preparer
from headwater.log.side import (
    ClearDue,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
)
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.verify import verify
from headwater.log.write import ANY, Write

PLACED = RawEvent("order.placed", {"n": 1})


def _calls(chance: random.Random, clock: ManualClock, count: int) -> list[list[Call]]:
    """Batches with retries, mixed ids, wrong versions and side rows, no id or key twice in a batch."""
    preparer = Preparer(Codec(), TimeOrderedIds(clock), clock, Limits())
    batches: list[list[Call]] = []
    for _ in range(count):
        batch: list[Call] = []
        fresh = chance.sample(range(60), 12)
        keys = chance.sample(["a", "b", "c", "d"], 4)
        for _ in range(chance.randint(1, 4)):
            writes: list[Write] = []
            for _ in range(chance.randint(1, 2)):
                numbers = [fresh.pop() for _ in range(chance.choice([0, 1, 1, 2])) if fresh]
                stream = Stream("order", str(numbers[0] % 5 if numbers else 0), chance.choice(["one", "two"]))
                stream = stream._replace(tenant=writes[0].stream.tenant) if writes else stream
                events = [
                    NewEvent(event=RawEvent("order.placed", n), id=derived_id(Stream("x", "x"), "x", n))
                    for n in numbers
                ]
                rows: list[SideRow] = []
                if keys and chance.random() < 0.4:
                    key = keys.pop()
                    kinds: list[SideRow] = [
                        TakeKey(key, "me"),
                        GiveKey(key, "me", chance.random() < 0.5),
                        NeedKey(key, "me"),
                        OpenFence(key),
                        CloseFence(key),
                        Fence(key, 0),
                        Wake(key),
                        SetDue(key, from_us(clock.now_us())),
                        ClearDue(key, chance.random() < 0.5),
                    ]
                    rows.append(chance.choice(kinds))
                expect = chance.choice([ANY, ANY, ANY, 0, 1, 2, 3])
                write = Write(stream, events, expect=expect, rows=rows)
                write.known = chance.choice(["refuse", "skip"])
                writes.append(write)
            if any(write.events for write in writes):
                batch.append(preparer.prepare(writes).call)
        batches.append(batch)
    return batches


def _plain(outcomes: list[Outcome]) -> list[object]:
    return [(type(o).__name__, str(o)) if isinstance(o, HeadwaterError) else tuple(o) for o in outcomes]


def _rows(rows: list[StoredRow]) -> list[StoredRow]:
    stored = [StoredRow(*row) for row in rows]
    return [
        row._replace(event_id=UUID(bytes=row.event_id) if isinstance(row.event_id, bytes) else row.event_id)
        for row in stored
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_batches_have_the_outcomes_and_the_chain_of_the_reference(tmp_path: Path, seed: int) -> None:
    clock = ManualClock()
    chance = random.Random(seed)
    reference = MemoryBackend(clock=clock)
    backends = [SqliteBackend(tmp_path / "log.db", clock=clock) for _ in range(2)]
    for backend in backends:
        await backend.open()
    for batch in _calls(chance, clock, 60):
        expected = await reference.append(0, batch)
        found = await chance.choice(backends).append(
            0, batch
        )  # either, so that what one remembers grows stale
        assert _plain(list(found)) == _plain(list(expected))
    theirs, ours = await reference.read(Query()), await backends[0].read(Query())
    assert _rows(list(ours.rows)) == _rows(list(theirs.rows))
    for tenant in ("one", "two"):
        assert await backends[0].keys(tenant) == await reference.keys(tenant)
        assert await backends[1].fences(tenant, ["a", "b", "c", "d"]) == await reference.fences(
            tenant, ["a", "b", "c", "d"]
        )
        assert await backends[1].due(tenant) == await reference.due(tenant)
    for backend in backends:
        await backend.close()


async def test_reads_give_what_the_reference_gives(tmp_path: Path) -> None:
    clock = ManualClock()
    reference, backend = MemoryBackend(clock=clock), SqliteBackend(tmp_path / "log.db", clock=clock)
    await backend.open()
    times: list[int] = []
    for batch in _calls(random.Random(1), clock, 80):
        clock._now += 1000
        times.append(clock.now_us())
        await reference.append(0, batch)
        await backend.append(0, batch)
    stream = Stream("order", "1", "one")
    correlated = str(_rows(list((await reference.read(Query())).rows))[3].event_id)
    queries = [
        Query(stream=stream, limit=3, backward=backward, until=until, from_version=2, to_version=to_version)
        for backward in (False, True)
        for until in (None, times[10], times[-1], 0)
        for to_version in (None, 4)
    ]
    queries += [
        Query(limit=limit, after=after, until=until, to_position=to_position, payload=payload)
        for limit in (4, 1000)
        for after in (0, 5)
        for until in (None, times[10], 0)
        for to_position in (None, 8)
        for payload in (False, True)
    ]
    queries += [Query(correlation_id=correlated), Query(correlation_id=correlated, tenant="nobody")]
    for query in queries:
        theirs, ours = await reference.read(query), await backend.read(query)
        assert (_rows(list(ours.rows)), ours.seen, ours.done) == (
            _rows(list(theirs.rows)),
            theirs.seen,
            theirs.done,
        )
    for query in (
        Query(tenant="one", limit=3),
        Query(tenant="one", stream_types=("order",), types=("none",)),
    ):
        theirs, ours = await reference.read(query), await backend.read(query)
        assert _rows(list(ours.rows)) == _rows(list(theirs.rows))
        assert ours.done == theirs.done
    await backend.close()


async def test_a_filtered_read_says_how_far_it_came(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.log.sqlite.read.STRETCH", 10)
    async with Log(SqliteBackend(path)) as log:
        await log.append(Write(Stream("order", "1"), [PLACED] * 24 + [RawEvent("order.rare", 1)]))
        page = await log.backend.read(Query(types=("order.rare",)))
        assert (list(page.rows), page.seen, page.done) == ([], 10, False)
        found = [recorded async for recorded in log.read(types=["order.rare"])]
        assert [recorded.position for recorded in found] == [25]


async def test_a_value_that_no_column_holds_is_its_authors_error(log: Log) -> None:
    async with log:
        preparer = Preparer(Codec(), TimeOrderedIds(), SystemClock(), Limits())
        call = preparer.prepare([Write(Stream("order", "1"), [PLACED])]).call
        write = call.writes[0]
        poison = call._replace(writes=(write._replace(side=(PutReady("q", "k", priority=2**70),)),))
        with pytest.raises(BatchRefused) as refused:
            await log.backend.append(0, [poison])
        assert not refused.value.everybody
        [placed] = await log.backend.append(0, [call])
        assert isinstance(placed, Placed)
        assert placed[:3] == ([1], [1], [False])


async def _together(log: Log, statements: Sequence[tuple[Any, ...]], *writes: Write) -> None:
    async with log.transaction() as transaction:
        for statement in statements:
            await transaction.execute(*statement)
        for write in writes:
            await transaction.append(write)


async def test_a_programs_statements_and_appends_commit_together_or_not_at_all(log: Log) -> None:
    first, second = Stream("order", "1"), Stream("order", "2")
    tea, coffee = (("INSERT INTO stock VALUES (?, ?)", item, 3) for item in ("tea", "coffee"))
    async with log:
        made = [("CREATE TABLE stock (item TEXT PRIMARY KEY, left INTEGER)",), tea]
        taken = Write(first, [PLACED], expect=0, rows=[TakeKey("k", "me")])
        await _together(log, made, taken, Write(first, [PLACED], expect=1))
        assert await log.version(first) == 2
        with pytest.raises(WrongVersion):
            await _together(log, [coffee], Write(second, [PLACED]), Write(first, [PLACED], expect=0))
        with pytest.raises(KeyTaken):
            await _together(log, [coffee], Write(first, [PLACED], rows=[TakeKey("k", "you")]))
        with pytest.raises(StorageRefused, match="UNIQUE"):
            await _together(log, [tea], Write(second, [PLACED]))
        assert await log.version(second) == 0
        await _together(log, [coffee])  # it was rolled back above
        assert (await verify(log)).place.position == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM hw_events",
        "INSERT INTO hw_keys VALUES ('default', 'k', 'me')",
        "CREATE TABLE copy AS SELECT * FROM hw_events",
        "CREATE TRIGGER t AFTER INSERT ON hw_events BEGIN SELECT 1; END",
        "DROP TABLE hw_due",
        "PRAGMA writable_schema = 1",
        "ATTACH 'other.db' AS other",
        "COMMIT",
    ],
)
async def test_a_programs_statement_cannot_touch_the_logs_tables(log: Log, statement: str) -> None:
    async with log:
        with pytest.raises(NotSupported, match="tables of your own"):
            await _together(log, [(statement,)])
        (appended,) = await log.append(Write(Stream("order", "1"), [PLACED]))
        assert appended.position == 1


async def test_the_wal_starts_again_under_steady_load(path: Path, log: Log) -> None:
    async with log:
        for number in range(300):
            await log.append(Write(Stream("order", str(number)), [RawEvent("order.placed", "x" * 500)] * 30))
        assert path.with_name("log.db-wal").stat().st_size < 16 * 1024 * 1024
        assert path.stat().st_size > 4 * 1024 * 1024

"""The contract of export and import: a log moves as it is, or not at all."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from headwater.errors import HeadwaterError, Refused
from headwater.events.clock import to_us
from headwater.events.envelope import NewEvent, StoredRow
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.port import DueRow
from headwater.log.side import ClearDue, OpenFence, PutReady, SetDue, SideRow, TakeKey, Wake
from headwater.log.transfer import export_lines, import_lines
from headwater.log.verify import verify
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import (
    ONE,
    TENANT,
    THREE,
    TWO,
    Noted,
    everything,
    positions,
    raw,
    side_rows,
    write,
)
from headwater.testing.contract.poison import ODD
from headwater.testing.contract.reads import THEIRS
from headwater.testing.contract.site import Site
from headwater.testing.invariants import check

MOMENT = datetime(2040, 1, 1, tzinfo=UTC)


async def fill(log: Log) -> None:
    """A log with something of everything."""
    noise = Random(4)
    await log.append(Write(ONE, [Noted(text=text) for text in ODD]), write(TWO))
    await log.append(Write(THREE, [Noted(text=noise.randbytes(70_000).hex()) for _ in range(2)]))
    more: dict[str, Any] = {"run_id": "run", "actor": "me", "metadata": {"a": ["\x00"]}, "spec_version": 1}
    await log.append(Write(THEIRS, [NewEvent(event=raw(), **more), Noted(text="a word " * 500)]))
    await log.append(write(ONE, events=600))


async def carried_over(source: Site, target: Site) -> None:
    """The log of one site moves to another, empty one: same events, places, chain and cursors, and it goes on."""
    async with source.open() as old, target.open() as new:
        await fill(old)
        events = await everything(old)
        cursor, head = old.cursor(events[3]), await old.head()
        lines = [line async for line in export_lines(old)]
        assert await import_lines(new, lines) == len(events)
        assert new.info.incarnation == old.info.incarnation
        assert [_plain(event.row) for event in await everything(new)] == [
            _plain(event.row) for event in events
        ]
        assert await new.head() == head
        assert await positions(new.read(cursor)) == [event.position for event in events[4:]]
        assert [line async for line in export_lines(new)] == lines
        [appended] = await new.append(write(TWO, expect=1))
        assert appended.position == len(events) + 1
        anchor = await verify(old)
        await verify(new, [anchor])
        await check(new)
    async with target.open() as again:
        assert again.info.incarnation == head.incarnation


class MovingContract:
    @behaviour(checked=False)
    async def test_a_log_moves_to_a_fresh_one_of_its_kind(self, site: Site) -> None:
        await carried_over(site, site.fresh())

    @behaviour(checked=False)
    async def test_a_log_moves_to_memory_and_back(self, site: Site) -> None:
        async with site.open() as log, Log(MemoryBackend()) as memory, site.fresh().open() as back:
            await fill(log)
            lines = [line async for line in export_lines(log)]
            await import_lines(memory, lines)
            await import_lines(back, [line async for line in export_lines(memory)])
            assert await back.head() == await memory.head() == await log.head()
            await check(back)

    @behaviour()
    async def test_an_empty_log_moves(self, site: Site) -> None:
        async with Log(MemoryBackend()) as memory, site.open() as log:
            assert await import_lines(log, [line async for line in export_lines(memory)]) == 0
            assert log.info.incarnation == memory.info.incarnation
            await log.append(write(ONE))

    @behaviour()
    async def test_a_log_that_holds_something_takes_no_import(self, site: Site) -> None:
        async with site.fresh().open() as source, site.open() as log:
            await source.append(write(ONE, events=3))
            lines = [line async for line in export_lines(source)]
            await log.append(write(TWO))
            before = await log.head()
            with pytest.raises(Refused):
                await import_lines(log, lines)
            assert await log.head() == before

    @behaviour()
    async def test_a_cut_off_or_altered_export_is_refused_and_nothing_is_imported(self, site: Site) -> None:
        async with Log(MemoryBackend()) as memory:
            await fill(memory)
            lines = [line async for line in export_lines(memory)]
        incarnation = None
        async with site.open() as log:
            for name, wrong in _spoiled(lines):
                with pytest.raises(HeadwaterError):
                    await import_lines(log, wrong)
                    pytest.fail(f"an export that is {name} was imported")
                assert (await log.head()).position == 0, name
                assert await log.version(ONE) == 0
                assert await log.find(TENANT, UUID(_fields(lines[1])["event_id"])) == []
                incarnation = incarnation or log.info.incarnation
                await log.reopen()
                assert log.info.incarnation == incarnation
            await import_lines(log, lines)
            await verify(log)

    @behaviour()
    async def test_side_rows_are_rebuilt_from_events(self, site: Site) -> None:
        def side(row: StoredRow) -> Sequence[SideRow]:
            if row[6] != "counted":
                return []
            if row[4] % 2:
                return [
                    SetDue(f"d{row[3]}", MOMENT, b"x"),
                    TakeKey(f"k{row[0]}", row[3]),
                    OpenFence("f"),
                    Wake("f"),
                ]
            return [ClearDue(f"d{row[3]}", missing_ok=True), PutReady("q", f"r{row[0]}", b"y")]

        async with Log(MemoryBackend()) as memory, site.open() as log, Log(MemoryBackend()) as other:
            await memory.append(write(ONE, events=3), write(TWO, events=2), Write(THREE, [Noted()]))
            lines = [line async for line in export_lines(memory)]
            await import_lines(log, lines, side)
            await import_lines(other, lines, side)
            assert await side_rows(log) == await side_rows(other)
            due = [DueRow(*row) for row in await log.backend.due(TENANT, by_now=False)]
            assert due == [DueRow(TENANT, "done", to_us(MOMENT), b"x")]


def _fields(line: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line)
    return fields


def _with(line: str, **changes: Any) -> str:
    return json.dumps(_fields(line) | changes)


def _spoiled(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Exports that are wrong, each in its own way."""
    events = [number for number, line in enumerate(lines) if "position" in _fields(line)]
    blob = next(number for number, line in enumerate(lines) if "bytes" in _fields(line))
    one, late = events[2], events[-50]
    other = b64encode(b'{"type":"noted","text":"forged"}').decode()

    def at(number: int, **changes: Any) -> list[str]:
        return [*lines[:number], _with(lines[number], **changes), *lines[number + 1 :]]

    return [
        ("empty", []),
        ("without its first line", lines[1:]),
        ("only a header", lines[:1]),
        ("cut off by one event", lines[:-1]),
        ("cut off late", lines[:-40]),
        ("cut off in a line", [*lines[:-1], lines[-1][:50]]),
        ("longer than it says", [*lines, lines[-1]]),
        ("without an event", [*lines[:late], *lines[late + 1 :]]),
        ("without an early event", [*lines[:one], *lines[one + 1 :]]),
        ("swapped", [*lines[:one], lines[one + 1], lines[one], *lines[one + 2 :]]),
        ("altered in its data", at(one, data=other)),
        ("altered late in its data", at(late, data=other)),
        ("altered in its actor", at(one, actor="nobody")),
        ("altered in its type", at(late, type="other")),
        ("altered in its time", at(one, recorded_at=1)),
        ("altered in its stream", at(one, stream=["paper", "elsewhere", "default"])),
        ("altered in its id", at(one, event_id=str(UUID(int=5)))),
        ("altered in its version", at(late, version=3)),
        ("altered in its digest", at(one, digest=b64encode(bytes(32)).decode())),
        ("altered in a large payload", at(blob, bytes=b64encode(b"forged").decode())),
        ("without a large payload", [*lines[:blob], *lines[blob + 1 :]]),
        ("not an event", [*lines[:one], "5", *lines[one + 1 :]]),
        ("not JSON", [*lines[:one], "{", *lines[one + 1 :]]),
        ("without a field", at(one, stream=None)),
        ("of another format", [_with(lines[0], format=99), *lines[1:]]),
        ("of something else", ["{}", *lines[1:]]),
    ]


def _plain(row: StoredRow) -> list[Any]:
    """A row whose id has the same type in every backend."""
    values: list[Any] = [*row]
    values[5] = UUID(bytes=values[5]) if isinstance(values[5], bytes) else values[5]
    return values

"""The contract of reading: by stream and by log, by version, backward, paged, filtered, with all data or less."""

from __future__ import annotations

import asyncio
from itertools import product
from random import Random
from typing import Any

import pytest

from headwater.errors import NewerSchema, PayloadMissing, Undecodable, UnknownEventType
from headwater.events.envelope import NewEvent, RawEvent, Recorded, StoredRow, Stream
from headwater.log.log import Log, LogOptions
from headwater.log.port import Data, Page, Query
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, THREE, TWO, Noted, everything, positions, raw, write
from headwater.testing.contract.site import Site

THEIRS = Stream("paper", "one", "theirs")


async def fill(log: Log) -> list[Recorded]:
    """A log in which every filter finds something, and leaves something out."""
    for n in range(24):
        stream = (ONE, TWO, THREE, THEIRS)[n % 4]
        more: dict[str, Any] = {}
        if n % 3 == 0:
            more = {"run_id": f"run-{n % 2}", "correlation_id": f"cause-{n % 5}", "metadata": {"n": n}}
        fact = Noted(number=n) if n % 2 else RawEvent(f"counted_{n % 3}", {"n": n})
        await log.append(Write(stream, [NewEvent(event=fact, **more)]))
    return await everything(log)


class ReadsContract:
    @behaviour()
    async def test_an_empty_log_and_an_unknown_stream_read_as_nothing(self, site: Site) -> None:
        async with site.open() as log:
            assert await everything(log) == []
            assert await positions(log.stream(ONE)) == await positions(log.stream(ONE, backward=True)) == []
            assert (await log.version(ONE), (await log.head()).position) == (0, 0)

    @behaviour()
    async def test_a_stream_by_version_either_way_in_pages_of_any_size(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(TWO))
            for _ in range(11):
                await log.append(write(ONE), write(TWO))
            versions = list(range(1, 12))
            for page in (1, 3, 11, 1000):
                async with site.open(options=LogOptions(page=page)) as reader:
                    for start, end, limit in product(
                        (1, 4, 11, 12), (None, 0, 1, 7, 99), (None, 0, 1, 4, 99)
                    ):
                        expected = [v for v in versions if start <= v <= (99 if end is None else end)]
                        bounds: dict[str, Any] = {"from_version": start, "to_version": end, "limit": limit}
                        found = [e.version async for e in reader.stream(ONE, **bounds)]
                        assert found == expected[:limit], bounds
                        found = [e.version async for e in reader.stream(ONE, backward=True, **bounds)]
                        assert found == expected[::-1][:limit], bounds

    @behaviour()
    async def test_several_streams_are_read_at_once_each_from_its_version(self, site: Site) -> None:
        async with site.open() as log:
            for n in range(5):
                await log.append(write(ONE), *([write(TWO)] if n % 2 else []))
                await log.append(write(THEIRS))
            starts = [(TWO, 1), (ONE, 3), (Stream("paper", "none"), 1), (THEIRS, 5), (ONE, 6), (ONE, 1)]
            found = await log.backend.read_streams(starts, 3)
            assert [[StoredRow(*row).version for row in rows] for rows in found] == [
                *([1, 2], [3, 4, 5], [], [5], [], [1, 2, 3]),
            ]
            for (stream, _), rows in zip(starts, found, strict=True):
                whole = [recorded.row async for recorded in log.stream(stream)]
                assert all(tuple(row) == tuple(whole[StoredRow(*row).version - 1]) for row in rows)
            assert list(await log.backend.read_streams([], 3)) == []

    @behaviour()
    async def test_the_log_is_filtered_by_each_of_its_columns_and_all_of_them(self, site: Site) -> None:
        async with site.open() as log:
            events = await fill(log)
            own = str(events[1].id)
            choices: dict[str, list[Any]] = {
                "tenant": [None, "default", "theirs", "nobody"],
                "stream_types": [[], ["card"], ["card", "paper"], ["none"]],
                "types": [[], ["noted"], ["counted_0", "counted_2"]],
                "run_id": [None, "run-0", "run-9"],
                "correlation_id": [None, "cause-0", own],
            }
            for values in product(*choices.values()):
                filters = dict(zip(choices, values, strict=True))
                expected = [event.position for event in events if _fits(event, filters)]
                for page in (2, 1000):
                    assert await positions(log.read(page=page, **filters)) == expected, filters

    @behaviour()
    async def test_pages_bring_cursors_that_stand_behind_what_was_left_out(self, site: Site) -> None:
        async with site.open() as log:
            wanted = [event.position for event in await fill(log) if event.type == "counted_0"]
            head = await log.head()
            pages = [page async for page in log.pages(types=["counted_0"], page=2)]
            assert pages[-1].cursor == head
            seen: list[int] = []
            for page in pages:
                seen += [event.position for event in page.events]
                assert page.cursor.position >= seen[-1]
                assert await positions(log.read(page.cursor, types=["counted_0"])) == wanted[len(seen) :]
            assert seen == wanted
            [nothing] = [page async for page in log.pages(types=["never"])]
            assert (list(nothing.events), nothing.cursor) == ([], head)

    @behaviour()
    async def test_a_page_of_the_port_says_how_far_it_has_looked(self, site: Site) -> None:
        async with site.open() as log:
            await fill(log)
            read = log.backend.read
            full, rest = Page(*await read(Query(limit=10))), Page(*await read(Query(limit=14, after=10)))
            assert (len(full.rows), full.seen, full.done) == (10, 10, False)
            assert (len(rest.rows), rest.seen) == (14, 24)  # whether there is more need not be known yet
            none = Page(*await read(Query(types=("never",), after=5)))
            assert (list(none.rows), none.seen, none.done) == ([], 24, True)
            some = Page(*await read(Query(to_position=7)))
            assert (len(some.rows), some.seen, some.done) == (7, 7, True)
            behind = Page(*await read(Query(after=24)))
            assert (list(behind.rows), behind.seen, behind.done) == ([], 24, True)

    @behaviour()
    async def test_reads_bring_as_much_of_the_data_as_they_are_asked_for(self, site: Site) -> None:
        noise = Noted(text=Random(2).randbytes(70_000).hex())
        events = [
            NewEvent(event=noise, metadata={"m": 1}, spec_version=1),
            NewEvent(event=Noted(text="small"), metadata={"m": 2}),
        ]
        async with site.open() as log:
            await log.append(Write(ONE, events))
            for data in Data:
                for found in (
                    [event async for event in log.stream(ONE, data=data)],
                    [event async for event in log.stream(ONE, data=data, backward=True)][::-1],
                    await everything(log, data=data),
                    await everything(log, data=data, types=["noted"]),
                ):
                    large, small = found
                    assert (large.spec_version, small.spec_version) == (1, 2)
                    assert large.blob is not None and small.blob is None
                    has = (large.stored is not None, small.stored is not None, bool(small.metadata))
                    assert has == (data is Data.ALL, data is not Data.NONE, data is not Data.NONE)
            large, small = await everything(log)
            assert (large.event, small.event) == (noise, Noted(text="small"))
            assert (large.metadata, small.metadata) == ({"m": 1}, {"m": 2})
            with pytest.raises(PayloadMissing):
                _ = [event.event async for event in log.stream(ONE, data=Data.NONE)]

    @behaviour()
    async def test_what_this_code_does_not_know_can_still_be_read_raw(self, site: Site) -> None:
        async with site.open() as log:
            odd: dict[str, Any] = {"type": "noted", "colour": "red"}
            await log.append(
                Write(ONE, [raw(3), RawEvent("noted", odd, schema_version=9), RawEvent("noted", odd)])
            )
            unknown, newer, misfit = await everything(log)
            assert (unknown.data, newer.data, newer.schema_version) == ({"n": 3}, odd, 9)
            for event, kind in ((unknown, UnknownEventType), (newer, NewerSchema), (misfit, Undecodable)):
                with pytest.raises(kind):
                    _ = event.event

    @behaviour()
    async def test_a_reader_that_stops_early_leaves_nothing_behind(self, site: Site) -> None:
        async with site.open(options=LogOptions(page=3)) as log:
            await log.append(write(ONE, events=50))
            async for event in log.read():
                if event.position == 2:
                    break
            async for event in log.stream(ONE, backward=True):
                if event.version == 46:
                    break
            assert len(await everything(log)) == 50

    @behaviour()
    async def test_a_read_is_a_prefix_even_while_others_write(self, site: Site) -> None:
        async with site.open() as writer, site.open(options=LogOptions(page=4)) as log:

            async def write_on() -> None:
                for n in range(60):
                    await writer.append(write((ONE, TWO)[n % 2]), write(THREE))

            writing = asyncio.create_task(write_on())
            while not writing.done():
                tail = await log.backend.tail(0)
                found = await positions(log.read())
                assert found == list(range(1, len(found) + 1)) and len(found) >= tail.position
                place = await log.backend.place(0, tail.position)
                assert place == tail
                await asyncio.sleep(0)
            await writing


def _fits(event: Recorded, filters: dict[str, Any]) -> bool:
    return (
        filters["tenant"] in (None, event.tenant)
        and (not filters["stream_types"] or event.stream.type in filters["stream_types"])
        and (not filters["types"] or event.type in filters["types"])
        and filters["run_id"] in (None, event.run_id)
        and filters["correlation_id"] in (None, event.correlation_id)
    )

"""The contract of `append`: atomic over streams, the four expectations, and nothing left of what is refused."""

from __future__ import annotations

import asyncio
from random import Random

from headwater.errors import FenceLost, PayloadRefused, WrongVersion
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.log.log import LogOptions
from headwater.log.port import Data
from headwater.log.prepare import Limits
from headwater.log.side import Fence, NeedKey, OpenFence, TakeKey
from headwater.log.write import ANY, NO_STREAM, Write
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
    refused,
    write,
)
from headwater.testing.contract.site import Site


class AppendContract:
    @behaviour()
    async def test_an_append_says_where_its_events_are(self, site: Site) -> None:
        async with site.open() as log:
            [one, two] = await log.append(write(ONE, events=2), write(TWO))
            assert (one.stream, one.versions, one.positions, one.known) == (
                ONE,
                (1, 2),
                (1, 2),
                (False, False),
            )
            assert (two.stream, two.versions, two.positions, two.version, two.position) == (
                TWO,
                (1,),
                (3,),
                1,
                3,
            )
            [more] = await log.append(write(ONE))
            assert (more.version, more.position) == (3, 4)
            times = [one.recorded_at, one.recorded_at, two.recorded_at, more.recorded_at]
            assert [event.row[10] for event in await everything(log)] == times

    @behaviour()
    async def test_what_was_appended_is_there_for_another_handle(self, site: Site) -> None:
        moment = raw(7)
        async with site.open() as log:
            fact = NewEvent(
                event=Noted(text="hello", number=5, more={"a": [1, None, 2.5, True]}),
                run_id="run-1",
                correlation_id="cause-1",
                causation_id="cause-2",
                actor="somebody",
                traceparent="00-11-22-01",
                metadata={"from": "here"},
                spec_version=1,
            )
            await log.append(Write(ONE, [fact, moment]))
        async with site.open() as log:
            [event, plain] = await everything(log)
            assert event.event == Noted(text="hello", number=5, more={"a": [1, None, 2.5, True]})
            assert (event.stream, event.type, event.schema_version, event.spec_version) == (
                ONE,
                "noted",
                1,
                1,
            )
            assert (event.run_id, event.correlation_id, event.causation_id) == ("run-1", "cause-1", "cause-2")
            assert (event.actor, event.traceparent) == ("somebody", "00-11-22-01")
            assert event.metadata == {"from": "here"}
            assert (plain.type, plain.data, plain.spec_version) == ("counted", {"n": 7}, 2)
            assert (plain.run_id, plain.actor, plain.traceparent, plain.metadata) == (None, None, None, {})
            assert plain.correlation_id == plain.causation_id == str(plain.id)
            assert await log.find(TENANT, plain.id) != []

    @behaviour()
    async def test_writes_of_one_call_stand_or_fall_together(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(TWO))
            error = await refused(WrongVersion, log, write(ONE), write(TWO, expect=NO_STREAM), write(THREE))
            assert (error.stream, error.expected, error.actual) == (TWO, 0, 1)
            assert await log.version(ONE) == 0
            await log.append(write(ONE), write(TWO, expect=1), write(THREE, expect=NO_STREAM))
            assert [e.stream for e in await everything(log)] == [TWO, ONE, TWO, THREE]

    @behaviour()
    async def test_expecting_anything_always_fits(self, site: Site) -> None:
        async with site.open() as log:
            assert [(await log.append(write(ONE, expect=ANY)))[0].version for _ in range(3)] == [1, 2, 3]

    @behaviour()
    async def test_expecting_no_stream_fits_once(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, expect=NO_STREAM))
            error = await refused(WrongVersion, log, write(ONE, expect=NO_STREAM))
            assert (error.stream, error.expected, error.actual) == (ONE, 0, 1)

    @behaviour()
    async def test_expecting_a_version_fits_exactly_that_one(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=3))
            for wrong in (1, 2, 4):
                error = await refused(WrongVersion, log, write(ONE, expect=wrong))
                assert (error.expected, error.actual) == (wrong, 3)
            await log.append(write(ONE, expect=3))
            error = await refused(WrongVersion, log, write(TWO, expect=1))
            assert (error.expected, error.actual) == (1, 0)

    @behaviour()
    async def test_expecting_a_fence_fits_its_epoch(self, site: Site) -> None:
        async with site.open() as log:
            error = await refused(FenceLost, log, write(ONE, expect=Fence("f", 0)))
            assert (error.key, error.expected, error.actual) == ("f", 0, None)
            await log.append(write(ONE, OpenFence("f")))
            await log.append(write(ONE, expect=Fence("f", 0)))
            [claimed] = await log.backend.claim(TENANT, ["f"], "worker")
            await log.append(write(ONE, expect=Fence("f", claimed.epoch)))
            error = await refused(FenceLost, log, write(ONE, expect=Fence("f", 0)))
            assert (error.key, error.expected, error.actual) == ("f", 0, claimed.epoch)

    @behaviour()
    async def test_a_write_without_events_expects_for_the_others(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=2))
            error = await refused(WrongVersion, log, write(TWO), Write(ONE, expect=1))
            assert (error.stream, error.expected, error.actual) == (ONE, 1, 2)
            [two, one] = await log.append(write(TWO), Write(ONE, expect=2))
            assert (two.version, one.versions, one.positions) == (1, (), ())
            assert await log.version(ONE) == 2

    @behaviour()
    async def test_a_stream_may_stand_twice_in_a_call(self, site: Site) -> None:
        async with site.open() as log:
            [a, b] = await log.append(write(ONE, events=2, expect=NO_STREAM), write(ONE, expect=2))
            assert (a.versions, b.versions) == ((1, 2), (3,))
            error = await refused(WrongVersion, log, write(ONE, expect=3), write(ONE, expect=3))
            assert (error.expected, error.actual) == (3, 4)

    @behaviour()
    async def test_a_call_without_events_is_refused(self, site: Site) -> None:
        async with site.open() as log:
            await refused(PayloadRefused, log)
            await refused(PayloadRefused, log, Write(ONE))
            await refused(PayloadRefused, log, Write(ONE, rows=[TakeKey("k", "me")]))

    @behaviour()
    async def test_a_call_belongs_to_one_tenant(self, site: Site) -> None:
        async with site.open() as log:
            await refused(PayloadRefused, log, write(ONE), write(Stream("paper", "one", "other")))

    @behaviour()
    async def test_the_longest_names_are_kept(self, site: Site) -> None:
        letters = Random(6).sample([c for c in map(chr, range(0x10000, 0x20000)) if c.isprintable()], 512)
        wide, key = "".join(letters[:256]), "".join(letters[256:])
        stream = Stream("t" * 128, wide[::-1], wide)
        async with site.open() as log:
            await log.append(
                Write(stream, [RawEvent("e" * 128, 1)], rows=[TakeKey(key, wide), OpenFence(key)])
            )
            await log.append(Write(stream, [raw()], rows=[NeedKey(key, wide), Fence(key, 0)], expect=1))
            assert [e.stream for e in await everything(log, tenant=wide)] == [stream, stream]

    @behaviour()
    async def test_large_payloads_come_back_from_their_blobs(self, site: Site) -> None:
        texts = ["x" * size + mark for size in (10, 70_000, 3_000_000) for mark in "ab"]
        options = LogOptions(limits=Limits(inline=200))  # the texts compress well
        async with site.open(options=options) as log:
            await log.append(Write(ONE, [Noted(text=text, more=text[:3000]) for text in texts]))
            await log.append(Write(TWO, [Noted(text=texts[-1], more=texts[-1][:3000])]))
        async with site.open() as log:
            events = [event async for event in log.stream(ONE)]
            assert [e.event for e in events] == [Noted(text=text, more=text[:3000]) for text in texts]
            [again] = [event async for event in log.stream(TWO)]
            assert (again.event, again.blob) == (events[-1].event, events[-1].blob)

    @behaviour()
    async def test_an_incompressible_payload_over_the_threshold_is_a_blob(self, site: Site) -> None:
        noise = Random(1).randbytes(80_000).hex()
        async with site.open() as log:
            await log.append(Write(ONE, [Noted(text=noise), Noted(text="small")]))
            large, small = [event async for event in log.stream(ONE)]
            assert large.blob is not None and small.blob is None
            assert (large.event, small.event) == (Noted(text=noise), Noted(text="small"))
            large, small = [event async for event in log.stream(ONE, data=Data.REFS)]
            assert (large.stored, large.blob is None) == (None, False)
            assert small.event == Noted(text="small")

    @behaviour()
    async def test_many_events_in_one_append(self, site: Site) -> None:
        async with site.open() as log:
            [appended] = await log.append(write(ONE, events=3000))
            assert appended.positions == tuple(range(1, 3001))
            assert await positions(log.stream(ONE)) == list(range(1, 3001))

    @behaviour()
    async def test_callers_at_the_same_time_each_get_their_own_places(self, site: Site) -> None:
        async with site.open() as log:
            streams = [Stream("card", f"c{n % 7}") for n in range(200)]
            placed = await asyncio.gather(*[log.append(write(stream, events=2)) for stream in streams])
            taken = [position for [appended] in placed for position in appended.positions]
            assert sorted(taken) == list(range(1, 401))
            events = {event.position: event for event in await everything(log)}
            for stream, [appended] in zip(streams, placed, strict=True):
                there = [events[position] for position in appended.positions]
                assert [(e.stream, e.version) for e in there] == [(stream, v) for v in appended.versions]

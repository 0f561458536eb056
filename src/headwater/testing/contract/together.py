"""The contract of group commit: one commit for many callers, and each has an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.errors import (
    Conflict,
    HeadwaterError,
    KeyTaken,
    LogClosed,
    OutcomeUnknown,
    PayloadRefused,
    StorageRefused,
    WrongVersion,
)
from headwater.events.envelope import Stream
from headwater.log.group import Pending
from headwater.log.log import LogOptions
from headwater.log.port import BatchRefused, BatchRetry, Call, Placed
from headwater.log.side import GiveKey, OpenFence, TakeKey, Wake
from headwater.log.write import NO_STREAM, Write
from headwater.testing.contract.around import Failing, Recording, Unsure
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, everything, fence, positions, write
from headwater.testing.contract.site import Site
from headwater.testing.invariants import Witness, check

NEVER = 3600.0


def streams(calls: Sequence[Call]) -> list[str]:
    return [write.stream.id for call in calls for write in call.writes]


class TogetherContract:
    @behaviour()
    async def test_what_arrives_during_a_flush_goes_with_the_next(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend) as log:
            recording.go.clear()
            first = asyncio.create_task(log.append(write(ONE)))
            while not recording.batches:
                await asyncio.sleep(0)
            rest = [asyncio.create_task(log.append(write(Stream("card", str(n))))) for n in range(50)]
            await asyncio.sleep(0)
            recording.go.set()
            await asyncio.gather(first, *rest)
            assert [len(batch) for batch in recording.batches] == [1, 50]
            assert [event.stream.id for event in await everything(log)] == ["one", *map(str, range(50))]

    @behaviour()
    async def test_each_call_of_a_group_has_its_own_outcome(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend) as log:
            await log.append(write(ONE, TakeKey("k", "me")))
            outcomes = await asyncio.gather(
                log.append(write(ONE, expect=1)),
                log.append(write(ONE, expect=1)),
                log.append(write(TWO, TakeKey("k", "you"))),
                log.append(write(ONE, expect=2), write(TWO, expect=NO_STREAM)),
                log.append(write(TWO, expect=NO_STREAM)),
                log.append(write(TWO, expect=1)),
                return_exceptions=True,
            )
            assert len(recording.batches) == 2
            ok, stale, taken, both, late, last = outcomes
            assert [isinstance(o, list) for o in (ok, both, last)] == [True] * 3
            assert isinstance(stale, WrongVersion) and (stale.expected, stale.actual) == (1, 2)
            assert isinstance(taken, KeyTaken) and taken.holder == "me"
            assert isinstance(late, WrongVersion) and (late.stream, late.actual) == (TWO, 1)
            assert [(e.stream, e.version) for e in await everything(log)] == [
                *((ONE, 1), (ONE, 2), (ONE, 3)),
                *((TWO, 1), (TWO, 2)),
            ]

    @behaviour()
    async def test_refused_calls_leave_no_gap_between_the_others(self, site: Site) -> None:
        async with site.open() as log:
            calls = [write(Stream("card", str(n % 40)), expect=NO_STREAM) for n in range(120)]
            outcomes = await asyncio.gather(*[log.append(call) for call in calls], return_exceptions=True)
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 80
            assert await positions(log.read()) == list(range(1, 41))

    @behaviour()
    async def test_a_permanent_error_meets_only_its_author(self, site: Site) -> None:
        def fault(calls: Sequence[Call]) -> Exception | None:
            return BatchRefused(StorageRefused()) if "bad" in streams(calls) else None

        failing = Failing(site.backend(), fault)
        async with site.open(failing.backend) as log:
            names = [str(n) for n in range(20)]
            names[13] = "bad"
            outcomes = await asyncio.gather(
                *[log.append(write(Stream("card", name))) for name in names], return_exceptions=True
            )
            assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, StorageRefused)] == [13]
            assert [e.stream.id for e in await everything(log)] == [name for name in names if name != "bad"]

    @behaviour()
    async def test_trouble_of_everybody_meets_everybody_at_once(self, site: Site) -> None:
        tries: list[int] = []

        def fault(calls: Sequence[Call]) -> Exception | None:
            tries.append(len(calls))
            return BatchRefused(StorageRefused("full"), everybody=True) if len(tries) == 1 else None

        failing = Failing(site.backend(), fault)
        async with site.open(failing.backend) as log:
            calls = [write(Stream("card", str(n))) for n in range(10)]
            outcomes = await asyncio.gather(*[log.append(call) for call in calls], return_exceptions=True)
            assert all(isinstance(outcome, StorageRefused) for outcome in outcomes)
            assert tries == [10]
            await asyncio.gather(*[log.append(call) for call in calls])
            assert len(await everything(log)) == 10

    @behaviour()
    async def test_a_flush_that_fails_in_an_unknown_way_leaves_nobody_waiting(self, site: Site) -> None:
        left = [ZeroDivisionError("a bug of the backend")]
        failing = Failing(site.backend(), lambda _: left.pop() if left else None)
        async with site.open(failing.backend) as log:
            mine = write(ONE)
            with pytest.raises(HeadwaterError):
                await asyncio.wait_for(log.append(mine), 5)
            [appended] = await log.append(mine)
            assert appended.version == 1

    @behaviour()
    async def test_an_unknown_outcome_is_settled_before_the_next_batch(self, site: Site) -> None:
        witness = Witness()
        unsure = Unsure(site.backend(), lose=["answer", "question", "answer", "nothing", "question"])
        async with site.open(unsure.backend) as log:
            for n in range(4):
                await asyncio.gather(
                    *[
                        witness.append(log, write(Stream("card", f"{n}.{k}"), expect=NO_STREAM))
                        for k in range(5)
                    ],
                    witness.append(log, write(ONE, expect=n)),
                )
            assert not unsure.left
            assert len(await everything(log)) == 24
            await check(log, witness.acknowledged)

    @behaviour()
    async def test_passing_trouble_is_waited_out(self, site: Site) -> None:
        left = [BatchRetry(), BatchRetry()]
        failing = Failing(site.backend(), lambda _: left.pop() if left else None)
        async with site.open(failing.backend) as log:
            assert (await log.append(write(ONE)))[0].version == 1

    @behaviour()
    async def test_a_cancelled_caller_does_not_withdraw_its_write(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend) as log:
            recording.go.clear()
            first = asyncio.create_task(log.append(write(ONE)))
            while not recording.batches:
                await asyncio.sleep(0)
            second = asyncio.create_task(log.append(write(TWO)))
            await asyncio.sleep(0)
            for caller in (first, second):
                caller.cancel()
            await asyncio.wait([first, second])
            assert first.cancelled() and second.cancelled()
            recording.go.set()
            await log.append(write(ONE))
            assert [event.stream for event in await everything(log)] == [ONE, TWO, ONE]

    @behaviour()
    async def test_who_stops_waiting_may_wait_again(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend) as log:
            recording.go.clear()
            pending = await log.submit(write(ONE))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_outcome(pending), 0.02)
            recording.go.set()
            assert (await pending).positions == [1]

    @behaviour()
    async def test_writes_that_nobody_awaits_ride_with_the_next_one_in_order(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend, options=LogOptions(linger=NEVER)) as log:
            one = await log.submit(write(ONE, events=2))
            two = await log.submit(write(TWO, OpenFence("f")))
            for _ in range(3):
                await asyncio.sleep(0.001)
            assert recording.batches == []
            [last] = await log.append(write(ONE, TakeKey("k", "me"), expect=2))
            assert [len(batch) for batch in recording.batches] == [3]
            assert ((await one).positions, (await two).positions, last.positions) == ([1, 2], [3], (4,))

    @behaviour()
    async def test_a_write_that_nobody_awaits_goes_in_a_moment(self, site: Site) -> None:
        async with site.open(options=LogOptions(linger=0.01)) as log:
            pending = await log.submit(write(ONE))
            while not await log.version(ONE):
                await asyncio.sleep(0.005)
            assert (await pending).positions == [1]

    @behaviour()
    async def test_calls_that_name_the_same_rows_are_judged_one_after_the_other(self, site: Site) -> None:
        async with site.open() as log:
            outcomes = await asyncio.gather(
                log.append(write(ONE, TakeKey("k", "a"))),
                log.append(write(ONE, TakeKey("k", "b"))),
                log.append(write(ONE, GiveKey("k", "a"))),
                log.append(write(ONE, TakeKey("k", "c"), OpenFence("f"))),
                log.append(write(ONE, Wake("f"))),
                log.append(write(ONE, Wake("f"))),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [list, KeyTaken, list, list, list, list]
            assert [row[2] for row in await log.backend.keys("default")] == ["c"]
            assert (await fence(log, "f") or ())[4:5] == (2,)

    @behaviour()
    async def test_the_same_write_submitted_twice_at_once_is_written_once(self, site: Site) -> None:
        async with site.open() as log:
            mine = write(ONE, events=2, expect=NO_STREAM)
            [first], [second] = await asyncio.gather(log.append(mine), log.append(mine))
            assert (first.positions, first.known) == ((1, 2), (False, False))
            assert (second.positions, second.known) == ((1, 2), (True, True))

    @behaviour()
    async def test_batches_are_capped_by_bytes(self, site: Site) -> None:
        recording = Recording(site.backend())
        async with site.open(recording.backend, options=LogOptions(batch_bytes=10_000)) as log:
            calls = [write(Stream("card", str(n)), events=10) for n in range(30)]
            await asyncio.gather(*[log.append(call) for call in calls])
            assert {len(batch) for batch in recording.batches} == {3}
            await log.append(write(ONE, events=200))  # one call larger than the cap still goes

    @behaviour()
    async def test_a_full_queue_makes_callers_wait_for_room(self, site: Site) -> None:
        recording = Recording(site.backend())
        options = LogOptions(queue_bytes=1_000, batch_bytes=1_000)
        async with site.open(recording.backend, options=options) as log:
            recording.go.clear()
            calls = [asyncio.create_task(log.append(write(ONE))) for _ in range(40)]
            late = [asyncio.create_task(log.append(write(TWO))) for _ in range(5)]
            await asyncio.sleep(0.01)
            more = asyncio.create_task(log.append(write(TWO)))
            await asyncio.sleep(0.01)
            assert not any(call.done() for call in (*calls, *late, more))
            recording.go.set()
            await asyncio.gather(*calls, *late, more)
            assert len(await everything(log)) == 46

    @behaviour()
    async def test_closing_writes_what_is_queued(self, site: Site) -> None:
        async with site.open(options=LogOptions(linger=NEVER)) as log:
            pending = [await log.submit(write(ONE)) for _ in range(5)]
        assert [(await one).positions for one in pending] == [[1], [2], [3], [4], [5]]
        with pytest.raises(LogClosed):
            await log.append(write(ONE))
        with pytest.raises(LogClosed):
            await log.head()

    @behaviour()
    async def test_closing_gives_up_after_its_patience_and_says_what_is_known(self, site: Site) -> None:
        recording = Recording(site.backend())
        options = LogOptions(close_patience=0.05, queue_bytes=500, batch_bytes=500)
        log = site.open(recording.backend, options=options)
        async with log:
            recording.go.clear()
            calls = [asyncio.create_task(log.append(write(ONE))) for _ in range(3)]
            while not recording.batches:
                await asyncio.sleep(0)
            blocked = asyncio.create_task(log.append(write(TWO)))
            await asyncio.sleep(0)
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, blocked, return_exceptions=True), 5)
        assert isinstance(outcomes[0], OutcomeUnknown) and outcomes[0].event_ids
        assert [type(outcome) for outcome in outcomes[1:]] == [LogClosed] * 3

    @behaviour()
    async def test_a_call_refused_at_the_door_disturbs_nobody(self, site: Site) -> None:
        async with site.open() as log:
            outcomes = await asyncio.gather(
                log.append(write(ONE)),
                log.append(Write(Stream("no name", "x"), write().events)),
                log.append(write(TWO, TakeKey("k", "me"), TakeKey("k", "me"))),
                log.append(write(TWO)),
                return_exceptions=True,
            )
            assert [isinstance(outcome, list) for outcome in outcomes] == [True, False, False, True]
            assert isinstance(outcomes[2], PayloadRefused)


async def _outcome(pending: Pending) -> Placed:
    return await pending

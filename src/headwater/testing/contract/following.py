"""The contract of subscriptions: they catch up, then follow, and hints only make them quicker."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import LogClosed
from headwater.events.envelope import Recorded
from headwater.log.log import Log, LogOptions
from headwater.testing.contract.around import Deaf
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, THREE, TWO, everything, first, write
from headwater.testing.contract.site import Site

QUICK = LogOptions(poll=0.02)
NEVER = LogOptions(poll=3600.0)
SOON = 20.0


class FollowingContract:
    @behaviour()
    async def test_a_subscription_catches_up_and_then_follows(self, site: Site) -> None:
        async with site.open(options=QUICK) as log, site.open() as other:
            await log.append(write(ONE, events=30))
            following = asyncio.create_task(first(50, log.subscribe(page=4)))
            for n in range(10):
                await (log if n % 2 else other).append(write(TWO))
                await asyncio.sleep(0.002)
            await other.append(write(THREE, events=10))
            await _got(following, list(range(1, 51)))

    @behaviour()
    async def test_an_append_of_the_same_handle_is_delivered_without_the_poll(self, site: Site) -> None:
        async with site.open(options=NEVER) as log:
            following = asyncio.create_task(first(5, log.subscribe()))
            for _ in range(5):
                await asyncio.sleep(0.005)
                await log.append(write(ONE))
            await _got(following, [1, 2, 3, 4, 5])

    @behaviour()
    async def test_with_every_hint_lost_the_poll_finds_it(self, site: Site) -> None:
        async with site.open(Deaf(site.backend()).backend, options=QUICK) as deaf, site.open() as other:
            following = asyncio.create_task(first(5, deaf.subscribe()))
            for _ in range(5):
                await asyncio.sleep(0.005)
                await other.append(write(ONE))
            await _got(following, [1, 2, 3, 4, 5])

    @behaviour()
    async def test_a_hint_without_an_event_makes_nothing_up(self, site: Site) -> None:
        async with site.open() as log, site.open() as liar:
            one = asyncio.create_task(first(1, log.subscribe()))
            two = asyncio.create_task(first(2, log.subscribe()))
            await asyncio.sleep(0.01)
            for position in (7, 1_000_000):
                liar.backend.hints.announce(0, position)
                await asyncio.sleep(0.01)
            assert not one.done()
            await liar.append(write(ONE))
            await _got(one, [1])
            await liar.append(write(ONE))
            await _got(two, [1, 2])

    @behaviour()
    async def test_a_filtered_subscription_passes_what_it_leaves_out(self, site: Site) -> None:
        async with site.open(options=QUICK) as log:
            await log.append(write(ONE, events=3))
            cursors: list[int] = []
            async for page in log.pages(follow=True, stream_types=["card"]):
                cursors.append(page.cursor.position)
                if cursors == [3]:
                    await log.append(write(ONE), write(THREE))
                if page.events:
                    assert [event.position for event in page.events] == [5]
                    break
            assert (cursors[0], cursors[-1]) == (3, 5)

    @behaviour()
    async def test_a_subscription_starts_after_its_cursor(self, site: Site) -> None:
        async with site.open(options=QUICK) as log:
            await log.append(write(ONE, events=5))
            cursor = log.cursor((await everything(log))[2])
            following = asyncio.create_task(first(4, log.subscribe(cursor)))
            await log.append(write(TWO, events=2))
            await _got(following, [4, 5, 6, 7])

    @behaviour()
    async def test_many_subscriptions_of_one_log_each_get_everything(self, site: Site) -> None:
        async with site.open(options=QUICK) as log, site.open() as other:
            following = [asyncio.create_task(first(20, log.subscribe())) for _ in range(30)]
            for n in range(10):
                await (log if n % 2 else other).append(write(ONE, events=2))
            for one in following:
                await _got(one, list(range(1, 21)))

    @behaviour()
    async def test_following_until_a_time_ends_when_the_log_has_passed_it(self, site: Site) -> None:
        async with site.open(options=QUICK) as log:
            await log.append(write(ONE, events=2))
            [*_, last] = await everything(log)
            while await log.backend.now_us() <= last.row[10]:
                await asyncio.sleep(0.001)
            await log.append(write(ONE))

            async def follow() -> list[int]:
                return [event.position async for event in log.subscribe(until=last.recorded_at)]

            assert await asyncio.wait_for(follow(), 5) == [1, 2]

    @behaviour()
    async def test_closing_the_log_ends_its_subscriptions(self, site: Site) -> None:
        async with site.open(options=QUICK) as log:
            await log.append(write(ONE))
            following = asyncio.create_task(_all_of(log))
            while not following.done() and len(asyncio.all_tasks()) < 3:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
        with pytest.raises(LogClosed):
            await asyncio.wait_for(following, 5)


async def _all_of(log: Log) -> None:
    async for _ in log.subscribe():
        pass


async def _got(following: asyncio.Task[list[Recorded]], expected: list[int]) -> None:
    assert [event.position for event in await asyncio.wait_for(following, SOON)] == expected

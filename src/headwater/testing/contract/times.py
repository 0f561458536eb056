"""The contract of time: recorded time is the log's own, never goes back, and cuts the log consistently."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headwater.events.clock import ManualClock
from headwater.events.envelope import NewEvent, Recorded
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.transfer import export_lines, import_lines
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, everything, positions, raw, write
from headwater.testing.contract.site import Site

HOUR = timedelta(hours=1)


class TimesContract:
    @behaviour()
    async def test_events_are_recorded_when_they_are_written(self, site: Site) -> None:
        async with site.open() as log:
            long_ago = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
            before = await log.backend.now_us()
            await log.append(Write(ONE, [NewEvent(event=raw(), occurred_at=long_ago)]))
            after = await log.backend.now_us()
            [event] = await everything(log)
            assert event.occurred_at == long_ago
            assert before <= event.row[10] <= after

    @behaviour("clock")
    async def test_a_clock_that_jumps_never_takes_recorded_time_back(self, site: Site) -> None:
        async with site.open() as log, site.open() as other:
            for jump in (
                HOUR,
                -3 * HOUR,
                HOUR / 2,
                -HOUR,
                timedelta(days=-4000),
                2 * HOUR,
                timedelta(days=4001),
            ):
                await log.append(write(ONE, events=2))
                site.jump(jump)
                await other.append(write(TWO))
            times = [event.recorded_at for event in await everything(log)]
            assert times == sorted(times)
            assert times[-1] - times[0] >= HOUR

    @behaviour()
    async def test_a_log_whose_last_event_is_of_the_future_goes_on_from_there(self, site: Site) -> None:
        future = datetime(2150, 1, 1, tzinfo=UTC)
        async with Log(MemoryBackend(clock=ManualClock(future))) as source:
            await source.append(write(ONE))
            lines = [line async for line in export_lines(source)]
        async with site.open() as log:
            await import_lines(log, lines)
            await log.append(write(ONE))
            await log.append(write(TWO))
            assert [event.recorded_at for event in await everything(log)] == [future] * 3
            assert await positions(log.read(until=future - timedelta(microseconds=1))) == []
            assert await positions(log.read(until=future)) == [1, 2, 3]

    @behaviour()
    async def test_reading_until_a_time_gives_what_was_recorded_by_then(self, site: Site) -> None:
        async with site.open() as log:
            for n in range(12):
                await log.append(write(TWO if n % 3 else ONE, events=2))
            events = await everything(log)
            first = events[0].recorded_at
            for moment in [*sorted({event.recorded_at for event in events}), first - HOUR, first + HOUR]:
                for until in (moment, moment - timedelta(microseconds=1)):
                    await _reads_agree(log, events, until)


async def _reads_agree(log: Log, events: list[Recorded], until: datetime) -> None:
    expected = [event for event in events if event.recorded_at <= until]
    mine = [event.position for event in expected if event.stream == ONE]
    assert await positions(log.read(until=until)) == [event.position for event in expected]
    assert await positions(log.read(until=until, stream_types=["paper"])) == [e.position for e in expected]
    assert await positions(log.stream(ONE, until=until)) == mine
    assert await positions(log.stream(ONE, until=until, backward=True)) == mine[::-1]
    assert await positions(log.stream(ONE, until=until, backward=True, limit=1)) == mine[::-1][:1]

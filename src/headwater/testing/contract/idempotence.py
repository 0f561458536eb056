"""The contract of event ids: after an unknown outcome a caller may always append again, and it is written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from headwater.errors import EventIdReused, MixedIds
from headwater.events.clock import ManualClock
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.side import Fence, GiveKey, OpenFence, SetDue, TakeKey
from headwater.log.write import NO_STREAM, Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import (
    ONE,
    TENANT,
    TWO,
    Noted,
    everything,
    raw,
    refused,
    side_rows,
    write,
)
from headwater.testing.contract.site import Site


def named(number: int, data: int | None = None) -> NewEvent:
    """An event with an id of its own."""
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    return NewEvent(event=raw(number if data is None else data), id=UUID(int=number + 1), occurred_at=moment)


class IdempotenceContract:
    @behaviour()
    async def test_the_same_write_again_gives_the_same_places(self, site: Site) -> None:
        async with site.open() as log:
            mine = write(ONE, events=2, expect=NO_STREAM)
            [first] = await log.append(mine)
            [again] = await log.append(mine)
            assert again == first._replace(known=(True, True), recorded_at=0)
            assert await log.version(ONE) == 2

    @behaviour()
    async def test_ids_are_looked_up_before_expectations(self, site: Site) -> None:
        async with site.open() as log:
            mine = write(ONE, expect=NO_STREAM)
            [first] = await log.append(mine)
            await log.append(write(ONE, events=5))
            [again] = await log.append(mine)
            assert (again.positions, again.known) == (first.positions, (True,))

    @behaviour()
    async def test_ids_are_looked_up_before_guards(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f")))
            mine = write(ONE, TakeKey("k", "me"), expect=Fence("f", 0))
            await log.append(mine)
            await log.backend.claim(TENANT, ["f"], "another")
            [again] = await log.append(mine)
            assert again.known == (True,)

    @behaviour()
    async def test_a_known_call_changes_no_side_row(self, site: Site) -> None:
        async with site.open() as log:
            mine = write(ONE, TakeKey("k", "me"), SetDue("d", datetime(2030, 1, 1, tzinfo=UTC)))
            await log.append(mine)
            await log.append(write(ONE, GiveKey("k", "me")))
            before = await side_rows(log)
            await log.append(mine)
            assert await side_rows(log) == before

    @behaviour()
    async def test_a_call_over_several_streams_is_known_as_a_whole(self, site: Site) -> None:
        async with site.open() as log:
            calls = [write(ONE, events=2), write(TWO)]
            first = await log.append(*calls)
            again = await log.append(*calls)
            assert [(a.positions, a.versions) for a in again] == [(f.positions, f.versions) for f in first]
            assert all(known for appended in again for known in appended.known)

    @behaviour()
    async def test_known_and_new_ids_mixed_are_refused(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(ONE, [named(1), named(2)]))
            error = await refused(MixedIds, log, Write(ONE, [named(1), named(2), named(3)]))
            assert (error.known, error.new) == (2, 1)
            error = await refused(MixedIds, log, Write(ONE, [named(1)]), Write(TWO, [named(3)], known="skip"))
            assert (error.known, error.new) == (1, 1)

    @behaviour()
    async def test_a_write_may_skip_what_is_known(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(ONE, [named(1), named(3)]))
            mixed = Write(ONE, [named(1), named(2), named(3), named(4)], known="skip", expect=2)
            [appended] = await log.append(mixed)
            assert appended.known == (True, False, True, False)
            assert (appended.positions, appended.versions) == ((1, 3, 2, 4), (1, 3, 2, 4))
            [again] = await log.append(mixed)
            assert again == appended._replace(known=(True, True, True, True), recorded_at=0)
            [one, two] = await log.append(Write(ONE, [named(2)], known="skip"), Write(TWO, [named(5)]))
            assert (one.known, two.known, two.position) == ((True,), (False,), 5)

    @behaviour()
    async def test_an_id_for_another_stream_or_content_is_refused(self, site: Site) -> None:
        other = NewEvent(event=RawEvent("other", {"n": 1}), id=UUID(int=2))
        newer = NewEvent(event=RawEvent("counted", {"n": 1}, schema_version=2), id=UUID(int=2))
        async with site.open() as log:
            await log.append(write(TWO))
            await log.append(Write(ONE, [named(1)]))
            for wrong in (
                Write(TWO, [named(1)]),
                Write(ONE, [named(1, data=9)]),
                Write(ONE, [named(7), named(1, data=9)], known="skip"),
                Write(ONE, [other]),
                Write(ONE, [newer]),
            ):
                error = await refused(EventIdReused, log, wrong)
                assert (error.event_id, error.position) == (UUID(int=2), 2)

    @behaviour()
    async def test_ids_belong_to_a_tenant(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(ONE, [named(1)]))
            [theirs] = await log.append(Write(Stream("paper", "one", "theirs"), [named(1, data=9)]))
            assert (theirs.known, theirs.version, theirs.position) == ((False,), 1, 2)

    @behaviour()
    async def test_the_same_fact_told_by_another_process_is_known(self, site: Site) -> None:
        """Its clock, trace and compression differ, so its bytes do; the fact does not."""
        large = Noted(text="a fact " * 20_000)
        facts: list[Noted | RawEvent] = [raw(1), large]
        for number, fact in enumerate(facts):
            stream = Stream("paper", f"p{number}")
            events = [NewEvent(event=fact, id=derived_id(stream, "order-1"))]
            async with site.open() as log:
                [first] = await log.append(Write(stream, events, expect=NO_STREAM))
            async with site.open(clock=ManualClock()) as log:
                retry = Write(
                    stream, [NewEvent(event=fact, id=events[0].id, traceparent="00-1-2-3")], expect=NO_STREAM
                )
                [again] = await log.append(retry)
                assert (again.positions, again.known) == (first.positions, (True,))
                [again] = await log.append(retry)
                assert (again.positions, again.known) == (first.positions, (True,))
                told = NewEvent(event=raw(99), id=derived_id(stream, "order-1"))
                await refused(EventIdReused, log, Write(stream, [told]))

    @behaviour()
    async def test_a_fact_told_again_with_new_ones_is_skipped(self, site: Site) -> None:
        def events(*keys: str) -> list[NewEvent]:
            return [NewEvent(event=Noted(text=key), id=derived_id(ONE, key)) for key in keys]

        async with site.open() as log:
            await log.append(Write(ONE, events("a", "b")))
        async with site.open(clock=ManualClock()) as log:
            await refused(MixedIds, log, Write(ONE, events("a", "b", "c")))
            [appended] = await log.append(Write(ONE, events("a", "c", "b"), known="skip"))
            assert (appended.known, appended.positions) == ((True, False, True), (1, 3, 2))

    @behaviour()
    async def test_what_became_of_a_write_can_be_asked_by_its_ids(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(ONE, [named(1), named(2)]))
            found = await log.find(TENANT, UUID(int=3), UUID(int=9), UUID(int=2))
            assert sorted((event.id.int, event.position) for event in found) == [(2, 1), (3, 2)]
            assert await log.find("theirs", UUID(int=2)) == []

    @behaviour()
    async def test_a_retry_from_another_handle_writes_once(self, site: Site) -> None:
        mine = Write(
            ONE, [NewEvent(event=raw(), occurred_at=datetime.now(UTC) - timedelta(days=1))], expect=0
        )
        for _ in range(3):
            async with site.open() as log:
                [appended] = await log.append(mine)
                assert appended.positions == (1,)
                assert len(await everything(log)) == 1

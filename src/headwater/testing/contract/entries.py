"""The contract of lists, and of calls that carry no event because they may be written again without harm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headwater.errors import PayloadRefused, WrongVersion
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutEntry,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Trust,
    Wake,
    WithdrawReady,
)
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, TWO, fence, refused, side_rows, write
from headwater.testing.contract.site import Site

THEIRS = Stream("paper", "one", "theirs")
MOMENT = datetime(2020, 1, 1, tzinfo=UTC)


async def fill(log: Log) -> None:
    """Nine papers, p1 first: every second is open, every third a card."""
    for n in range(1, 10):
        status, label = ("open" if n % 2 else "closed"), ("letter" if n % 3 else "card")
        await log.append(write(ONE, PutEntry("papers", f"p{n}", label, status, b"%d" % n)))


async def keys(log: Log, tenant: str | None = TENANT, **filters: Any) -> str:
    """The numbers of the papers found, in their order."""
    found = await log.backend.entries(tenant, "papers", **filters)
    return " ".join(row.key.removeprefix("p") for row in found)


class EntriesContract:
    @behaviour()
    async def test_an_entry_is_replaced_and_keeps_its_first_time(self, site: Site) -> None:
        async with site.open() as log:
            before = await log.backend.now_us()
            await log.append(write(ONE, PutEntry("papers", "p", "letter", "open", b"\x00first")))
            after = await log.backend.now_us()
            [first] = await log.backend.entries(TENANT, "papers")
            assert first[:5] == (TENANT, "papers", "p", "letter", "open")
            assert first.data == b"\x00first"
            assert before <= first.at <= after
            await log.append(write(ONE, PutEntry("papers", "p", "card", "closed", b"second")))
            [second] = await log.backend.entries(TENANT, "papers")
            assert tuple(second) == (TENANT, "papers", "p", "card", "closed", first.at, b"second")

    @behaviour()
    async def test_a_list_comes_newest_first_in_pages(self, site: Site) -> None:
        async with site.open() as log:
            await fill(log)
            await log.append(write(ONE, PutEntry("papers", "p3", "card", "open", b"again")))
            assert await keys(log) == "9 8 7 6 5 4 3 2 1"
            for page in (1, 2, 4, 9):
                found: list[str] = []
                before = None
                while rows := await log.backend.entries(TENANT, "papers", before=before, limit=page):
                    found += [row.key for row in rows]
                    assert len(found) <= 9, "pages begin with what was there before"
                    before = rows[-1].at, rows[-1].key
                assert found == [f"p{n}" for n in range(9, 0, -1)]

    @behaviour()
    async def test_entries_of_one_time_are_paged_by_key(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, *[PutEntry("papers", f"p{n}", "letter", "open") for n in range(5)]))
            assert await keys(log) == "4 3 2 1 0"
            [*_, last] = await log.backend.entries(TENANT, "papers", limit=2)
            assert await keys(log, before=(last.at, last.key)) == "2 1 0"

    @behaviour()
    async def test_a_list_is_filtered_by_label_status_and_key(self, site: Site) -> None:
        async with site.open() as log:
            await fill(log)
            assert await keys(log, label="card") == "9 6 3"
            assert await keys(log, statuses=["open"]) == "9 7 5 3 1"
            assert await keys(log, statuses=["open", "closed", "lost"], limit=3) == "9 8 7"
            assert await keys(log, label="card", statuses=["open"]) == "9 3"
            assert await keys(log, keys=["p2", "p8", "p5", "p2", "nowhere"]) == "8 5 2"
            assert await keys(log, keys=["p2", "p8", "p5"], statuses=["closed"], limit=1) == "8"
            assert await keys(log, keys=["p9", "p8"], label="card") == "9"
            [middle] = await log.backend.entries(TENANT, "papers", keys=["p5"])
            place = middle.at, middle.key
            assert await keys(log, before=place) == "4 3 2 1"
            assert await keys(log, before=place, statuses=["open"]) == "3 1"
            assert await keys(log, before=place, keys=["p5", "p6", "p4"]) == "4"
            assert await keys(log, before=place, label="card", limit=5) == "3"

    @behaviour()
    async def test_lists_and_tenants_do_not_mix(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, PutEntry("papers", "p1", "letter", "open")))
            await log.append(write(THEIRS, PutEntry("papers", "p2", "letter", "open")))
            await log.append(write(ONE, PutEntry("stamps", "p3", "letter", "open")))
            assert await keys(log) == "1"
            assert await keys(log, "theirs") == "2"
            assert [row.key for row in await log.backend.entries(TENANT, "stamps")] == ["p3"]
            for filters in ({}, {"statuses": ["open"]}, {"label": "letter"}, {"keys": ["p1", "p2", "p3"]}):
                assert await keys(log, None, **filters) == "2 1"


class EventlessContract:
    @behaviour()
    async def test_rows_that_may_be_repeated_need_no_event(self, site: Site) -> None:
        rows: list[SideRow] = [
            *(PutEntry("papers", "p", "letter", "closed"), CloseFence("f"), GiveKey("k", "me", True)),
            *(ClearDue("d", True), WithdrawReady("q", "r")),
        ]
        async with site.open() as log:
            made: list[SideRow] = [
                TakeKey("k", "me"),
                OpenFence("f"),
                SetDue("d", MOMENT),
                PutReady("q", "r"),
            ]
            await log.append(write(ONE, *made))
            head = await log.head()
            for _ in range(2):
                [appended] = await log.append(Write(ONE, rows=rows))
                assert (appended.positions, appended.versions) == ((), ())
                left = await side_rows(log)
                assert left.pop("entries") == [(TENANT, "papers", "p", "letter", "closed", b"")]
                assert not any(left.values())
                assert await log.head() == head
        async with site.open() as log:
            assert [row.key for row in await log.backend.entries(TENANT, "papers")] == ["p"]
            [appended] = await log.append(write(ONE))
            assert (appended.position, appended.version) == (2, 2)

    @behaviour()
    async def test_a_tenant_may_begin_with_a_row(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(THEIRS, rows=[PutEntry("papers", "p1", "letter", "open")]))
            assert await keys(log, "theirs") == await keys(log, None) == "1"
            [appended] = await log.append(write(THEIRS))
            assert (appended.position, appended.version) == (1, 1)

    @behaviour()
    async def test_a_call_without_events_is_judged_like_any_other(self, site: Site) -> None:
        entry = PutEntry("papers", "p1", "letter", "open")
        async with site.open() as log:
            await log.append(write(ONE))
            await refused(WrongVersion, log, Write(TWO, rows=[entry], expect=3))
            assert await keys(log) == ""
            await log.append(Write(ONE, rows=[entry], expect=1))
            assert await keys(log) == "1"

    @behaviour()
    async def test_other_rows_need_an_event(self, site: Site) -> None:
        rows: list[SideRow] = [
            *(TakeKey("k", "me"), NeedKey("k", "me"), GiveKey("k", "me"), OpenFence("f"), Fence("f", 0)),
            *(Wake("f"), Trust("f"), SetDue("d", MOMENT), ClearDue("d"), PutReady("q", "r")),
            *(ClearReady("q", "r"), ClearReady("q", "r", missing_ok=True)),
        ]
        async with site.open() as log:
            for row in rows:
                entry = PutEntry("papers", "p", "letter", "open")
                await refused(PayloadRefused, log, Write(ONE, rows=[entry]), Write(TWO, rows=[row]))
            assert await keys(log) == ""
            assert await fence(log, "f") is None

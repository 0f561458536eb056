"""The contract of claimed ready rows: who takes which, and whose claim still counts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from headwater.errors import RowGone
from headwater.events.clock import to_us
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.side import ClearReady, NeedReady, PutReady, WithdrawReady
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, TWO, refused, write
from headwater.testing.contract.guards import EARLY, LATE
from headwater.testing.contract.owners import enrol
from headwater.testing.contract.site import Site

HOUR = timedelta(hours=1)


async def take(log: Log, holder: str, limit: int = 100, queue: str = "q") -> list[tuple[str, int]]:
    """The keys that a worker takes, with its claims."""
    return [(row.key, row.claim) for row in await log.backend.take_ready(holder, {queue: limit})]


class QueuesContract:
    @behaviour()
    async def test_taking_a_ready_row_claims_it(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "other")
            await log.append(write(ONE, PutReady("q", "r", b"\x00data", at=EARLY)))
            assert await take(log, "nobody") == []
            [taken] = await log.backend.take_ready("w", {"q": 5})
            assert tuple(taken) == (TENANT, "q", "r", 1, to_us(EARLY), b"\x00data")
            [row] = await log.backend.ready(TENANT, "q")
            assert (row.holder, row.claim) == ("w", 1)
            assert await take(log, "other") == await take(log, "w") == []

    @behaviour()
    async def test_rows_are_taken_by_priority_then_time(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            later = EARLY + HOUR
            await log.append(
                write(
                    ONE,
                    *(PutReady("q", "low", priority=9, at=EARLY), PutReady("q", "second", at=later)),
                    *(PutReady("q", "first", at=EARLY), PutReady("q", "urgent", priority=-5, at=later)),
                )
            )
            assert await take(log, "w", 0) == []
            assert await take(log, "w", 3) == [("urgent", 1), ("first", 1), ("second", 1)]
            assert await take(log, "w", 3) == [("low", 1)]

    @behaviour()
    async def test_each_queue_has_its_own_limit(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            rows = [PutReady(queue, f"{queue}{n}") for queue in ("p", "q", "s") for n in range(4)]
            await log.append(write(ONE, *rows))
            taken = await log.backend.take_ready("w", {"q": 3, "p": 1, "none": 7})
            assert sorted(row.queue for row in taken) == ["p", "q", "q", "q"]
            assert {row.holder for row in await log.backend.ready(TENANT, "s")} == {None}
            assert list(await log.backend.take_ready("w", {})) == []

    @behaviour()
    async def test_a_worker_is_told_what_it_holds(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "other")
            await log.append(
                write(ONE, *[PutReady(queue, f"r{n}") for queue in ("p", "q") for n in range(3)])
            )
            assert list(await log.backend.held_ready("w")) == []
            mine = await log.backend.take_ready("w", {"q": 2, "p": 1})
            await take(log, "other", 1, "p")
            held = {tuple(row) for row in await log.backend.held_ready("w")}
            assert held == {(row.tenant, row.queue, row.key, row.claim) for row in mine}
            await log.append(write(TWO, *[ClearReady(row.queue, row.key) for row in mine[1:]]))
            assert [row.key for row in await log.backend.held_ready("w")] == [mine[0].key]

    @behaviour("clock")
    async def test_a_row_is_taken_when_it_is_due_and_not_before(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            soon = datetime.fromtimestamp(await log.backend.now_us() / 1e6, UTC) + HOUR
            await log.append(
                write(
                    ONE,
                    *(PutReady("q", "soon", priority=-1, at=soon), PutReady("q", "never", at=LATE)),
                    *(PutReady("q", "now"), PutReady("q", "low", priority=3)),
                )
            )
            assert await take(log, "w") == [("now", 1), ("low", 1)]
            site.jump(2 * HOUR)
            assert await take(log, "w") == [("soon", 1)]
            assert await take(log, "w") == []

    @behaviour()
    async def test_rows_of_all_tenants_are_taken(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await log.append(write(ONE, PutReady("q", "r")))
            await log.append(write(Stream("paper", "one", "theirs"), PutReady("q", "r")))
            taken = await log.backend.take_ready("w", {"q": 5})
            assert sorted((row.tenant, row.claim) for row in taken) == [(TENANT, 1), ("theirs", 1)]

    @behaviour()
    async def test_a_claim_never_stands_for_two(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            await log.append(write(ONE, PutReady("q", "r")))
            assert await take(log, "w1") == [("r", 1)]
            await log.append(write(ONE, PutReady("q", "r", b"again")))
            [row] = await log.backend.ready(TENANT, "q")
            assert (row.holder, row.claim, row.data) == (None, 1, b"again")
            assert await take(log, "w2") == [("r", 2)]
            for stale in (ClearReady("q", "r", claim=1), PutReady("q", "r", claim=1)):
                error = await refused(RowGone, log, write(ONE, stale))
                assert (error.kind, error.key) == ("ready", "q/r")
            await log.append(write(ONE, ClearReady("q", "r", claim=1, missing_ok=True)))
            assert [r.claim for r in await log.backend.ready(TENANT, "q")] == [2]
            await log.append(write(ONE, ClearReady("q", "r", claim=2)))
            for claim in (0, 2):
                await refused(RowGone, log, write(ONE, ClearReady("q", "r", claim=claim)))
                await refused(RowGone, log, write(ONE, PutReady("q", "r", claim=claim)))
            assert await log.backend.ready(TENANT, "q") == []

    @behaviour()
    async def test_who_has_claimed_a_row_can_put_it_back(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            await log.append(write(ONE, PutReady("q", "r")))
            assert await take(log, "w1") == [("r", 1)]
            await log.append(write(ONE, PutReady("q", "r", b"later", at=LATE, claim=1)))
            assert await take(log, "w2") == []
            await log.append(write(ONE, PutReady("q", "r", b"now", at=EARLY, claim=1)))
            [taken] = await log.backend.take_ready("w2", {"q": 1})
            assert (taken.claim, taken.data) == (2, b"now")

    @behaviour()
    async def test_a_claim_can_be_needed_without_changing_it(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await refused(RowGone, log, write(ONE, NeedReady("q", "r", 1)))
            await log.append(write(ONE, PutReady("q", "r", at=EARLY)))
            await refused(RowGone, log, write(ONE, NeedReady("q", "r", 1)))
            assert await take(log, "w") == [("r", 1)]
            await log.append(write(ONE, NeedReady("q", "r", 1)))
            await refused(RowGone, log, write(ONE, NeedReady("q", "r", 2)))
            [row] = await log.backend.ready(TENANT, "q")
            assert (row.holder, row.claim) == ("w", 1)

    @behaviour()
    async def test_withdrawing_leaves_what_somebody_has_begun(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await log.append(write(ONE, PutReady("q", "begun", at=EARLY), PutReady("q", "free")))
            assert await take(log, "w", 1) == [("begun", 1)]
            rows = [WithdrawReady("q", key) for key in ("begun", "free", "nowhere")]
            await log.append(write(ONE, *rows))
            assert [row.key for row in await log.backend.ready(TENANT, "q")] == ["begun"]
            await log.append(write(ONE, ClearReady("q", "begun", claim=1)))

    @behaviour()
    async def test_workers_on_several_handles_never_share_a_row(self, site: Site) -> None:
        async with site.open() as a, site.open() as b:
            logs = {"w1": a, "w2": b}
            await enrol(a, *logs)
            keys = [f"r{n:02}" for n in range(40)]
            await a.append(write(ONE, *(PutReady("q", key) for key in keys)))

            async def all_it_gets(worker: str) -> list[tuple[str, int]]:
                mine: list[tuple[str, int]] = []
                while some := await take(logs[worker], worker, 3):
                    mine += some
                return mine

            taken = [row for rows in await asyncio.gather(*map(all_it_gets, logs)) for row in rows]
            taken += await take(a, "w1")  # whoever passes over what another is taking may end too soon
            assert sorted(taken) == [(key, 1) for key in keys]

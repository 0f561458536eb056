"""The contract of tenants: they share a log and its order, and see nothing of each other."""

from __future__ import annotations

from random import Random

from headwater.errors import HeadwaterError
from headwater.events.envelope import Stream
from headwater.log.port import Release, SnapshotRow
from headwater.log.side import OpenFence, PutEntry, PutReady, SetDue, SideRow, TakeKey
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import Noted, everything, positions, write
from headwater.testing.contract.guards import EARLY
from headwater.testing.contract.site import Site

OURS, THEIRS = Stream("paper", "one", "ours"), Stream("paper", "one", "theirs")


class TenantsContract:
    @behaviour()
    async def test_tenants_have_streams_of_their_own_in_one_order(self, site: Site) -> None:
        async with site.open() as log:
            for n in range(6):
                [appended] = await log.append(write((OURS, THEIRS)[n % 2], expect=n // 2))
                assert (appended.version, appended.position) == (n // 2 + 1, n + 1)
            assert await positions(log.read(tenant="ours")) == [1, 3, 5]
            assert await positions(log.read(tenant="theirs")) == [2, 4, 6]
            assert await positions(log.stream(OURS)) == [1, 3, 5]
            assert await positions(log.read(tenant="nobody")) == []
            assert await positions(log.read()) == [1, 2, 3, 4, 5, 6]

    @behaviour()
    async def test_tenants_do_not_see_each_others_rows(self, site: Site) -> None:
        noise = Noted(text=Random(5).randbytes(70_000).hex())
        async with site.open() as log:
            rows: list[SideRow] = [
                *(TakeKey("k", "me"), OpenFence("f"), SetDue("d", EARLY), PutReady("q", "r")),
                PutEntry("papers", "p", "paper", "open"),
            ]
            await log.append(Write(OURS, [noise], rows=rows))
            [event] = await everything(log)
            blob = event.blob or b""
            await log.backend.save_snapshot(SnapshotRow(OURS, "s", 1, 1, event.chain, "json", b"1"), 2)
            backend = log.backend
            assert list(await backend.get_blobs("ours", [blob])) == [blob]
            assert await backend.get_blobs("theirs", [blob]) == {}
            assert await log.find("theirs", event.id) == []
            assert await log.version(THEIRS) == 0
            assert await backend.load_snapshot(THEIRS, "s", 1, None) is None
            assert list(await backend.keys("theirs")) == []
            assert list(await backend.fences("theirs", ["f"])) == []
            assert list(await backend.due("theirs")) == []
            assert list(await backend.ready("theirs", "q")) == []
            assert list(await backend.entries("theirs", "papers")) == []
            assert list(await backend.entries("theirs", "papers", keys=["p"])) == []
            assert len(await backend.entries(None, "papers")) == 1
            assert list(await backend.claim("theirs", ["f"], "thief")) == []
            assert await backend.release([Release("theirs", "f", 0, 0)]) == [False]
            assert (await backend.fences("ours", ["f"]))[0][2:4] == (0, None)
            assert len(await backend.due(None)) == len(await backend.ready(None, "q")) == 1

    @behaviour()
    async def test_an_empty_tenant_is_refused(self, site: Site) -> None:
        async with site.open() as log:
            try:
                await log.append(write(Stream("paper", "one", "")))
            except HeadwaterError:
                pass
            else:
                raise AssertionError("a write without a tenant was taken")
            assert (await log.head()).position == 0

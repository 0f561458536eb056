"""The contract of the chain: any event altered, removed or swapped is found, and with an anchor a cut-off end."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from headwater.errors import ChainBroken, CursorRefused
from headwater.events.digest import GENESIS, link
from headwater.events.envelope import StoredRow
from headwater.log.log import LogOptions
from headwater.log.port import Page
from headwater.log.verify import Anchor, verify
from headwater.testing.contract.around import Rewritten
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, everything, write
from headwater.testing.contract.moving import fill
from headwater.testing.contract.site import Site

Rewrite = Callable[[list[StoredRow]], list[StoredRow]]


def changed(position: int, **values: Any) -> Rewrite:
    def rewrite(rows: list[StoredRow]) -> list[StoredRow]:
        return [row._replace(**values) if row.position == position else row for row in rows]

    return rewrite


def without(position: int) -> Rewrite:
    return lambda rows: [row for row in rows if row.position != position]


def swapped(position: int) -> Rewrite:
    def rewrite(rows: list[StoredRow]) -> list[StoredRow]:
        a, b = rows[position - 1], rows[position]
        places = ("position", "version", "recorded_at", "chain")
        a_place = {name: getattr(a, name) for name in places}
        b_place = {name: getattr(b, name) for name in places}
        return [*rows[: position - 1], b._replace(**a_place), a._replace(**b_place), *rows[position + 1 :]]

    return rewrite


def renumbered(position: int) -> Rewrite:
    """The event is taken out, and those behind it close the gap; their chain values stay."""

    def rewrite(rows: list[StoredRow]) -> list[StoredRow]:
        rest = [row._replace(position=row.position - 1) for row in rows if row.position > position]
        versions = [row._replace(version=row.version - 1) if row.stream_id == "one" else row for row in rest]
        return [*rows[: position - 1], *versions]

    return rewrite


class VerifyingContract:
    @behaviour()
    async def test_a_log_as_it_was_written_verifies(self, site: Site) -> None:
        for options in (LogOptions(), LogOptions(page=7)):
            async with site.open(options=options) as log:
                if options.page != 7:
                    await fill(log)
                seen: list[int] = []
                anchor = await verify(log, progress=seen.append)
                head = await log.head()
                assert (anchor.incarnation, anchor.place) == (head.incarnation, head.places[0])
                assert seen[-1] == anchor.place.position
                assert Anchor.parse(anchor.line()) == anchor

    @behaviour()
    async def test_the_chain_is_what_it_is_said_to_be(self, site: Site) -> None:
        async with site.open() as log:
            for n in range(5):
                await log.append(write(ONE, events=2), write(TWO, events=n + 1))
            chain = GENESIS
            for event in await everything(log):
                chain = link(chain, event.position, event.version, event.row[10], event.digest)
                assert event.chain == chain
            assert (await log.head()).places[0].chain == chain

    @behaviour()
    async def test_every_change_of_history_is_found(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=4))
            await log.append(write(TWO, events=2))
            await log.append(write(ONE, events=4))
            await verify(log)
        zero = bytes(32)
        for position, rewrite in [
            (3, changed(3, data=b'{"n":9}')),
            (3, changed(3, type="other")),
            (3, changed(3, tenant="theirs")),
            (3, changed(3, stream_id="other")),
            (3, changed(3, actor="somebody")),
            (3, changed(3, occurred_at=1)),
            (3, changed(3, recorded_at=1)),
            (3, changed(3, metadata=b"{}")),
            (3, changed(3, schema_version=2)),
            (3, changed(3, spec_version=1)),
            (3, changed(3, version=9)),
            (3, changed(3, digest=zero)),
            (3, changed(3, chain=zero)),
            (10, changed(10, chain=zero)),
            (3, without(3)),
            (1, without(1)),
            (3, swapped(3)),
            (4, swapped(4)),
            (5, swapped(5)),
            (3, renumbered(3)),
        ]:
            await self._is_found(site, position, rewrite)

    async def _is_found(self, site: Site, position: int, rewrite: Rewrite) -> None:
        def page(page: Page) -> Page:
            return Page(rewrite([StoredRow(*row) for row in page.rows]), page.seen, page.done)

        async with site.open(Rewritten(site.backend(), page).backend) as log:
            with pytest.raises(ChainBroken) as broken:
                await verify(log)
            assert broken.value.position == position

    @behaviour()
    async def test_an_altered_or_lost_large_payload_is_found(self, site: Site) -> None:
        async with site.open() as log:
            await fill(log)
            blobs = [event for event in await everything(log) if event.blob]
        for data in (b"forged", None):
            rewritten = Rewritten(site.backend(), lambda page: page)

            async def get_blobs(
                tenant: str, hashes: list[bytes], data: bytes | None = data
            ) -> dict[bytes, bytes]:
                return {} if data is None else dict.fromkeys(hashes, data)

            rewritten.__dict__["get_blobs"] = get_blobs
            async with site.open(rewritten.backend) as log:
                with pytest.raises(ChainBroken) as broken:
                    await verify(log)
                assert broken.value.position == blobs[0].position

    @behaviour()
    async def test_a_cut_off_end_is_found_against_an_anchor(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=6))
            early = await verify(log)
            await log.append(write(ONE, events=4))
            late = await verify(log, [early])
            await verify(log, [late, early, Anchor.parse(late.line())])

        def cut(page: Page) -> Page:
            return Page([row for row in page.rows if row[0] <= 8], page.seen, page.done)

        async with site.open(Rewritten(site.backend(), cut).backend) as log:
            assert (await verify(log, [early])).place.position == 8
            with pytest.raises(ChainBroken, match="cut off"):
                await verify(log, [early, late])
            rewritten = Anchor(early.incarnation, 0, early.place._replace(chain=sha256().digest()))
            with pytest.raises(ChainBroken, match="rewritten"):
                await verify(log, [rewritten])

    @behaviour()
    async def test_an_anchor_of_another_log_is_refused(self, site: Site) -> None:
        async with site.open() as log, site.fresh().open() as other:
            await other.append(write(ONE))
            with pytest.raises(CursorRefused):
                await verify(log, [await verify(other)])
            for line in ("", "{}", "[]", '{"incarnation": 1}'):
                with pytest.raises(CursorRefused):
                    Anchor.parse(line)

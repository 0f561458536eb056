"""The contract of cursors: they hold where they were given, and are refused anywhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.errors import CursorRefused
from headwater.log.cursor import Cursor
from headwater.log.log import Log
from headwater.log.port import Place
from headwater.log.transfer import export_lines, import_lines
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, everything, first, positions, write
from headwater.testing.contract.site import Site


class CursorsContract:
    @behaviour()
    async def test_reading_goes_on_after_a_cursor_and_its_token(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=9))
            for event in await everything(log):
                cursor = log.cursor(event)
                assert Cursor.parse(str(cursor)) == cursor
                assert await positions(log.read(cursor)) == list(range(event.position + 1, 10))
            token = str(await log.head())
        async with site.open() as log:
            assert await positions(log.read(Cursor.parse(token))) == []
            assert str(await log.head()) == token

    @behaviour()
    async def test_the_cursor_of_an_empty_log_is_its_start(self, site: Site) -> None:
        async with site.open() as log:
            start = await log.head()
            await log.append(write(ONE, events=3))
            assert await positions(log.read(start)) == [1, 2, 3]
            assert await positions(log.read(Cursor.parse(str(start)))) == [1, 2, 3]

    @behaviour()
    async def test_a_cursor_of_another_log_is_refused(self, site: Site) -> None:
        async with site.fresh().open() as theirs, site.open() as log:
            for it in (theirs, log):
                await it.append(write(ONE, events=3))
            await _refused(log, await theirs.head())

    @behaviour()
    async def test_a_cursor_that_was_made_up_is_refused(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=3))
            head = await log.head()
            place = head.places[0]
            for wrong in (
                Place(4, place.chain),
                Place(2, place.chain),
                Place(3, bytes(32)),
                Place(-1, place.chain),
            ):
                await _refused(log, replace(head, places={0: wrong}))
            for token in (
                "",
                "hw1.",
                "hw1.AAAA",
                "nonsense",
                str(head)[:-5],
                str(head) + "AAAA",
                "hw1.\u00e9\u00e9",
            ):
                with pytest.raises(CursorRefused):
                    Cursor.parse(token)

    @behaviour()
    async def test_a_cursor_from_before_a_restore_is_refused(self, site: Site) -> None:
        """A backup is put back and history goes on another way: the incarnation is the same, the chain is not."""
        async with site.open() as log:
            await log.append(write(ONE, events=5))
            kept = await log.head()
            backup = [line async for line in export_lines(log)]
            await log.append(write(ONE, events=5))
            lost, far = log.cursor((await everything(log))[6]), await log.head()
        async with site.fresh().open() as restored:
            await import_lines(restored, backup)
            assert await positions(restored.read(kept)) == []
            await _refused(restored, lost)
            await restored.append(write(TWO, events=4))
            await _refused(restored, lost)
            await _refused(restored, far)
            assert await positions(restored.read(kept)) == [6, 7, 8, 9]


async def _refused(log: Log, cursor: Cursor) -> None:
    with pytest.raises(CursorRefused):
        await everything(log, after=cursor)
    with pytest.raises(CursorRefused):
        await first(1, log.subscribe(cursor))

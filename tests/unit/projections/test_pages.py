"""Pages of a log: in order, each once, read ahead or not."""

from __future__ import annotations

import asyncio

import pytest

from headwater import Log, RawEvent, Stream, Write
from headwater.log.memory import MemoryBackend
from headwater.log.port import Page, Query
from headwater.projections.pages import Pages


class Counting(MemoryBackend):
    """One that says how often it was read."""

    reads = 0

    async def read(self, query: Query) -> Page:
        self.reads += 1
        return await super().read(query)


@pytest.mark.parametrize("ahead", [True, False])
async def test_the_next_page_is_asked_for_while_this_one_is_looked_at_or_only_then(ahead: bool) -> None:
    backend = Counting()
    async with Log(backend) as log:
        await log.append(Write(Stream("order", "o"), [RawEvent("placed", n) for n in range(25)]))
        pages, seen, positions = Pages(backend, Query(limit=10), ahead=ahead), 0, list[int]()
        for number in (1, 2, 3):
            page = await pages.after(seen)
            seen, positions = page.seen, positions + [row[0] for row in page.rows]
            await asyncio.sleep(0)
            assert backend.reads == number + (ahead and not page.done)
        assert positions == [*range(1, 26)]
        await pages.close()

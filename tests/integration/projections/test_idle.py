"""A projection with nothing to fold costs those who append next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.projections.projection import Projection
from headwater.projections.projector import Projector
from headwater.projections.states import States
from headwater.projections.stores import Checkpoint, StateRow, Store
from tests.integration.projections.shop import Noted, Paid, Refunded, Spent, pay, spent


async def test_events_of_others_are_passed_without_a_write_for_each(
    log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, save = 0, store.save

    async def counted(at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        nonlocal saved
        saved += 1
        return await save(at, position, rows)

    monkeypatch.setattr(store, "save", counted)
    projection = Projection(
        "spent", state=Spent, initial=Spent(), fold=spent, events=(Paid, Refunded), store=lambda _: store
    )
    states = States(log, projection)
    projector = Projector(log, [projection])
    await projector.start()
    for n in range(300):
        await log.append(Write(Stream("note", "n"), [Noted(text=str(n))]))
    async with asyncio.timeout(10):
        await states.caught_up((await log.head()).position)
        assert saved < 30
        await states.caught_up(await pay(log, "a", 7))
    await projector.stop()
    assert await states.state("order/a") == Spent(cents=7, events=1)

"""A step that fails or is cut off at any of its awaits: whoever goes on with the same fold misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from headwater.errors import LogUnavailable
from headwater.events.envelope import Recorded
from headwater.log.log import Log
from headwater.projections.folding import Folding
from headwater.projections.memory import MemoryStore
from headwater.projections.rebuild import live_of
from headwater.projections.states import States
from headwater.projections.stores import Checkpoint, Key, StateRow, Store
from tests.integration.projections.shop import BY_STREAM, Spent, pay


class Trouble(MemoryStore):
    """Fails at the calls that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.fails_at = 0

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise LogUnavailable("The store is gone for a moment.")

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        self._called()
        return await super().load(name, generation, keys)

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        self._called()
        return await super().save(at, position, rows)


async def _folding(log: Log, store: Store, *, every: float = 0.0) -> Folding[Spent]:
    folding = Folding(log, BY_STREAM, store, "one", lease=30, batch=2, every=every)
    assert await folding.take((await live_of(store, BY_STREAM)).generation) is not None
    return folding


async def _to_the_end(folding: Folding[Spent]) -> None:
    while await folding.step():
        pass
    await folding.settle()


async def _is_the_fold(log: Log, store: Store) -> None:
    states = States(log, BY_STREAM, store)
    assert await states.state("order/a") == Spent(cents=1 + 4 + 16, events=3)
    assert await states.state("order/b") == Spent(cents=2 + 8, events=2)


async def _five_payments(log: Log) -> None:
    for place in range(5):
        await pay(log, "ab"[place % 2], 2**place)


@pytest.mark.parametrize(
    ("every", "fails_at"), [*((0.0, call) for call in range(1, 5)), *((60.0, call) for call in range(1, 4))]
)
async def test_a_store_that_is_away_for_one_call_costs_nothing(log: Log, every: float, fails_at: int) -> None:
    await _five_payments(log)
    store = Trouble()
    folding = await _folding(log, store, every=every)
    store.fails_at = fails_at
    for _ in range(3):
        with suppress(LogUnavailable):
            assert await folding.take(1) is not None
            await _to_the_end(folding)
    assert store.calls > fails_at
    store.fails_at = 0
    await _is_the_fold(log, store)


@pytest.mark.parametrize("every", [0.0, 60.0])
async def test_what_is_cut_off_anywhere_loses_no_page(log: Log, every: float) -> None:
    await _five_payments(log)
    cut = 0
    for turns in range(60):
        store = MemoryStore()
        folding = await _folding(log, store, every=every)
        work = asyncio.create_task(_to_the_end(folding))
        for _ in range(turns):
            await asyncio.sleep(0)
        cut += work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        assert await folding.take(1) is not None
        await _to_the_end(folding)
        await _is_the_fold(log, store)
        await folding.release()
    assert cut > 2


async def test_a_key_that_cannot_be_told_has_the_projection_stand_still(log: Log, store: Store) -> None:
    await _five_payments(log)

    def key(recorded: Recorded) -> str:
        if recorded.position == 3:
            raise ValueError("no idea")
        return recorded.stream.id

    folding = Folding(log, replace(BY_STREAM, key=key), store, "one", lease=30, batch=2)
    live = await live_of(store, BY_STREAM)
    for _ in range(3):
        assert await folding.take(live.generation) is not None
        with pytest.raises(ValueError, match="no idea"):
            await _to_the_end(folding)
    await folding.settle()
    assert (await live_of(store, BY_STREAM)).position < 3

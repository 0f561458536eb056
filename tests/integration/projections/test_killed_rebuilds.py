"""A rebuild that is killed again and again still finishes, and never starts over."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

from headwater.log.log import Log
from headwater.projections.folding import Folding
from headwater.projections.open import store_for
from headwater.projections.rebuild import ask_rebuild, live_of, rebuild, verify
from headwater.projections.states import States
from headwater.projections.stores import Key, StateRow, Store
from tests.integration.projections.shop import BY_STREAM, Spent, pay

KILLS = 10


async def test_a_rebuild_that_is_killed_ten_times_finishes(log: Log, store: Store) -> None:
    for order in range(2 * KILLS):
        await pay(log, f"o{order % 7}", 1)
    await live_of(store, BY_STREAM)
    await ask_rebuild(store, BY_STREAM.name)
    reached: list[int] = []
    for _ in range(KILLS):
        folding = Folding(log, BY_STREAM, store, f"killed-{len(reached)}", lease=0.001, batch=2)
        while await folding.take(2) is None:
            await asyncio.sleep(0.001)
        await folding.step()
        await folding.settle()
        assert folding.at is not None
        reached.append(folding.at.position)
        dying = asyncio.create_task(
            folding.step()
        )  # it dies in the middle of the next page, and lets go of nothing
        await asyncio.sleep(0)
        dying.cancel()
        with suppress(asyncio.CancelledError):
            await dying
    assert reached == sorted(set(reached))
    await rebuild(log, BY_STREAM, store, lease=0.5)
    assert (await live_of(store, BY_STREAM)).generation == 2
    assert (await verify(log, BY_STREAM, store)).different == ()


async def test_a_state_is_read_right_while_rebuilt_ones_are_put_into_use(
    log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live generation is dropped between the two calls of a reader."""
    await pay(log, "a", 1)
    await rebuild(log, BY_STREAM, store)

    load, swaps = store.load, 0

    async def swapped(name: str, generation: int, keys: Sequence[Key]) -> Mapping[Key, StateRow]:
        nonlocal swaps
        swaps += 1
        if swaps == 1:
            await rebuild(log, BY_STREAM, store_for(log))
        return await load(name, generation, keys)

    monkeypatch.setattr(store, "load", swapped)
    assert await States(log, BY_STREAM, store).state("order/a") == Spent(cents=1, events=1)
    assert swaps > 1

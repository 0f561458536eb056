"""Several who rebuild and verify at once: one builds, all come to an end, and nobody's work is another's."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from headwater.log.log import Log
from headwater.projections.folding import Folding
from headwater.projections.rebuild import live_of, rebuild, state_hash, verify
from headwater.projections.states import States
from headwater.projections.stores import StateRow, Store
from tests.integration.projections.shop import BY_STREAM, pay
from tests.projecting import projecting


async def test_all_who_rebuild_at_once_come_to_an_end(log: Log, store: Store) -> None:
    for n in range(30):
        await pay(log, f"o{n % 7}", 1)
    await live_of(store, BY_STREAM)
    compared = await asyncio.gather(*[rebuild(log, BY_STREAM, store, lease=1.0) for _ in range(4)])
    assert {one.keys for one in compared} == {7}
    assert len({one.hash for one in compared}) == 1
    assert len(await store.checkpoints(BY_STREAM.name)) == 1


async def test_what_another_put_into_use_is_read_again_when_a_third_puts_more_there(
    log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(log, "a", 1)
    await live_of(store, BY_STREAM)
    await store.create("spent", 2, 1, live=False)
    other = Folding(log, BY_STREAM, store, "other", lease=30)
    assert await other.take(2) is not None
    waiting = asyncio.create_task(rebuild(log, BY_STREAM, store, lease=2.0))
    page, replaced = store.page, False

    async def replaced_before(name: str, generation: int, *arguments: Any) -> Sequence[StateRow]:
        nonlocal replaced
        if not replaced:
            replaced = True
            await rebuild(log, BY_STREAM, store)
        return await page(name, generation, *arguments)

    monkeypatch.setattr(store, "page", replaced_before)
    while await other.step():
        pass
    assert other.at is not None
    assert await store.swap(other.at)
    compared = await waiting
    assert (compared.keys, compared.hash) == (1, await state_hash(store, "spent", 3))


async def test_a_rebuild_that_a_worker_takes_up_comes_to_an_end(log: Log, store: Store) -> None:
    """The worker sees a generation that is begun, and may be quicker."""
    async with projecting(log, BY_STREAM, lease=1.0):
        for n in range(15):
            await pay(log, f"o{n % 7}", 1)
            await asyncio.wait_for(rebuild(log, BY_STREAM, store, lease=1.0), 10)
        await States(log, BY_STREAM).caught_up((await log.head()).position)
    assert (await verify(log, BY_STREAM, store)).different == ()


async def test_a_folder_that_is_cut_off_in_a_write_lets_go(
    log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(log, "o", 1)
    live = await live_of(store, BY_STREAM)
    folding = Folding(log, BY_STREAM, store, "one")
    await folding.take(live.generation)

    async def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(store, "save", cut_off)
        with pytest.raises(asyncio.CancelledError):
            await folding.step()
    await folding.release()
    assert await store.take(BY_STREAM.name, live.generation, "two", 1_000) is not None


async def test_verifying_puts_nothing_into_use(log: Log, store: Store) -> None:
    async with projecting(log, BY_STREAM, lease=1.0):
        await pay(log, "o", 1)
        await States(log, BY_STREAM).caught_up(1)
        before = await live_of(store, BY_STREAM)
        for _ in range(10):
            assert (await verify(log, BY_STREAM, store, lease=1.0)).different == ()
        assert (await live_of(store, BY_STREAM)).generation == before.generation
        assert len(await store.checkpoints(BY_STREAM.name)) == 1

"""A watcher that hears hints, and is lied to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from headwater.log.heard import Heard
from headwater.log.live import Live
from headwater.log.port import Place


class Scene:
    """A log whose tail is what the test says, and answers when the test lets it."""

    def __init__(self) -> None:
        self.tail_position, self.looks = 0, 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.heard = Heard()
        backend: Any = SimpleNamespace(tail=self.tail)
        self.live = Live(backend, lambda: self.heard, 3600)  # type: ignore[arg-type,return-value]

    async def tail(self, shard: int) -> Place:
        self.looks += 1
        await self.answers.wait()
        return Place(self.tail_position, b"")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.live.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_hint_wakes_those_before_its_position_without_a_look(scene: Scene) -> None:
    before, behind = (asyncio.create_task(scene.live.beyond(n)) for n in (4, 5))
    await settle()
    scene.answers.clear()
    scene.heard.hear(5)
    await settle()
    assert before.done()
    assert not behind.done()
    behind.cancel()


async def test_a_hint_at_the_known_tail_costs_no_look(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.beyond(7))
    await settle()
    scene.live.saw(7, own=7)
    looks = scene.looks
    for position in (1, 6, 7):
        scene.heard.hear(position)
        await settle()
    assert scene.looks == looks
    waiting.cancel()


async def test_a_hint_without_a_position_has_the_tail_looked_at(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.beyond(0))
    await settle()
    scene.tail_position = 1
    scene.heard.hear(1)
    scene.heard.hear()
    await asyncio.wait_for(waiting, 5)
    assert scene.looks == 2


async def test_a_hint_that_is_far_too_high_wakes_once_and_is_forgotten(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.beyond(0))
    await settle()
    scene.heard.hear(1_000_000)
    await asyncio.wait_for(waiting, 5)
    again = asyncio.create_task(scene.live.beyond(0))
    await settle()
    assert not again.done()
    scene.tail_position = 1
    scene.heard.hear(1)
    await asyncio.wait_for(again, 5)


async def test_who_waits_to_be_sure_is_not_woken_by_a_lie(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.beyond(0, surely=True))
    await settle()
    scene.heard.hear(9)
    await settle()
    assert not waiting.done()
    scene.tail_position = 1
    scene.heard.hear(1)
    await asyncio.wait_for(waiting, 5)


async def test_strangers_are_told_by_the_hint_and_not_again_by_the_look(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.others(0))
    await settle()
    scene.answers.clear()
    scene.heard.hear(3)
    assert await asyncio.wait_for(waiting, 5) == 1
    later = asyncio.create_task(scene.live.others(1))
    scene.tail_position = 3
    scene.answers.set()
    await settle()
    assert not later.done()
    scene.tail_position = 4
    scene.heard.hear(4)
    assert await asyncio.wait_for(later, 5) == 2


async def test_an_append_that_a_lie_has_hidden_is_told_when_the_lie_is_found_out(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.others(0))
    await settle()
    scene.answers.clear()
    scene.heard.hear(1000)
    seen = await asyncio.wait_for(waiting, 5)
    later = asyncio.create_task(scene.live.others(seen))
    await settle()
    scene.live.saw(7, own=1)  # six of others, which the lie covers
    scene.tail_position = 7
    scene.answers.set()
    await asyncio.wait_for(later, 5)


async def test_own_appends_are_no_strangers(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.live.others(0))
    await settle()
    scene.live.saw(3, own=3)
    scene.heard.hear(3)
    await settle()
    assert not waiting.done()
    scene.live.saw(5, own=1)
    assert await asyncio.wait_for(waiting, 5) == 1

"""The invariants' checker sees what is wrong, and names it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

import pytest

from headwater.errors import WrongVersion
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.log.memory import MemoryBackend
from headwater.log.port import Call, Outcome
from headwater.log.write import Write
from headwater.testing.contract import LogContract, Site
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, write
from headwater.testing.invariants import Acknowledged, InvariantBroken, Witness, check, check_idle
from tests.contract.sites import MemorySite

Spoil = Callable[[MemoryBackend], None]


def replaced(at: int, **changes: Any) -> Spoil:
    def spoil(backend: MemoryBackend) -> None:
        events = backend._rows.events
        events[at - 1] = events[at - 1]._replace(**changes)

    return spoil


class WrongVersions(MemoryBackend):
    """Every event is of version 7."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes = await super().append(shard, calls)
        self._rows.events[:] = [row._replace(version=7) for row in self._rows.events]
        return outcomes


def removed(backend: MemoryBackend) -> None:
    del backend._rows.events[2]


def hidden_from_its_stream(backend: MemoryBackend) -> None:
    del backend._rows.streams[ONE][-1]


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (removed, "I2"),
        (replaced(3, position=4), "I2"),
        (replaced(3, event_id=UUID(int=1)), "I2"),
        (replaced(3, version=9), "I3"),
        (replaced(3, recorded_at=1), "I6"),
        (hidden_from_its_stream, "I6"),
        (replaced(3, chain=bytes(32)), "I7"),
        (replaced(3, data=b"{}"), "I7"),
    ],
)
async def test_a_spoiled_log_is_named(spoil: Spoil, name: str) -> None:
    site = MemorySite()
    async with site.open() as log:
        await log.append(Write(ONE, [NewEvent(event=RawEvent("counted", 1), id=UUID(int=1))]))
        await log.append(write(TWO), write(ONE, events=2))
        await check(log)
        spoil(site.only)
        with pytest.raises(InvariantBroken) as broken:
            await check(log)
        assert broken.value.name == name


async def test_the_log_is_held_to_what_it_acknowledged() -> None:
    async with MemorySite().open() as log:
        witness = Witness()
        mine = write(ONE, events=2, expect=0)
        await witness.append(log, mine)
        await witness.append(log, write(TWO))
        await witness.append(log, mine)
        with pytest.raises(WrongVersion):
            await witness.append(log, write(ONE, expect=9))
        assert [promise.known for promise in witness.acknowledged] == [False, False, False, True, True]
        await check(log, witness.acknowledged)
        first = witness.acknowledged[0]
        for wrong in (first._replace(id=UUID(int=5)), first._replace(position=2), first._replace(version=2)):
            with pytest.raises(InvariantBroken) as broken:
                await check(log, [wrong])
            assert broken.value.name == "I1"


async def test_an_event_before_one_that_was_answered_earlier_breaks_real_time() -> None:
    async with MemorySite().open() as log:
        witness = Witness()
        for _ in range(3):
            await witness.append(log, write(ONE))
        await check(log, witness.acknowledged)
        first, *rest = witness.acknowledged
        late = first._replace(asked=rest[-1].answered + 1, answered=rest[-1].answered + 2)
        with pytest.raises(InvariantBroken) as broken:
            await check(log, [late, *rest])
        assert broken.value.name == "I6"
        at_once: list[Acknowledged] = [promise._replace(asked=0) for promise in (late, *rest)]
        await check(log, at_once)


async def test_a_task_that_is_left_is_named() -> None:
    await check_idle()
    left = asyncio.create_task(asyncio.sleep(3600), name="forgotten")
    with pytest.raises(InvariantBroken, match="forgotten"):
        await check_idle(0.01)
    left.cancel()
    await check_idle()


class Undeclared(MemorySite):
    """A site that neither gives nor declares to lack an ability."""

    lacks: ClassVar = {name: why for name, why in MemorySite.lacks.items() if name != "processes"}


def test_an_ability_that_is_neither_given_nor_declared_fails() -> None:
    with pytest.raises(NotImplementedError, match="'processes'"):
        LogContract().test_a_writer_killed_in_mid_append_loses_nothing_that_it_was_told(Undeclared())


def test_an_ability_that_is_declared_lacking_is_skipped_with_its_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="it lives in one process"):
        LogContract().test_a_writer_killed_in_mid_append_loses_nothing_that_it_was_told(MemorySite())


def test_the_invariants_are_checked_behind_every_test() -> None:
    class Contract:
        @behaviour()
        async def test_nothing(self, site: Site) -> None:
            async with site.open() as log:
                await log.append(write(Stream("paper", "one"), events=3))

    Contract().test_nothing(MemorySite())
    with pytest.raises(InvariantBroken):
        Contract().test_nothing(MemorySite(WrongVersions))

"""Code that does something else than the history holds is told so at once, with both, and the line."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from headwater.app import Headwater, Workflow
from headwater.errors import NonDeterminismError
from headwater.runs import events as run
from tests.unit.workflows.driver import Owner, replay

app = Headwater("changing")


@app.step
def pick(thing: str) -> str:
    return thing


@app.step
def pack(thing: str) -> str:
    return thing


@app.step
def ship(thing: str) -> str:
    return thing


Code = Callable[[], Coroutine[Any, Any, Any]]


def workflow(code: Code) -> Workflow[..., Any]:
    return Workflow(code, name="parcel", version=1, timeout=None)


async def original() -> str:
    await pick("a")
    await pack("a")
    await asyncio.sleep(60)
    return await ship("a")


def diverges(code: Code, *, since: Code = original) -> NonDeterminismError:
    owner = Owner(workflow(since)).go()
    owner.execution.evict()
    with pytest.raises(NonDeterminismError) as caught:
        replay(workflow(code), owner.history())
    return caught.value


async def without_pack() -> str:
    await pick("a")
    await asyncio.sleep(60)
    return await ship("a")


async def with_another() -> str:
    await pick("a")
    await pick("b")
    await pack("a")
    await asyncio.sleep(60)
    return await ship("a")


async def with_other() -> str:
    await pick("a")
    await ship("a")
    return "a"


async def reordered() -> str:
    await pack("a")
    await pick("a")
    return "a"


async def without_sleep() -> str:
    await pick("a")
    await pack("a")
    return await ship("a")


def test_a_removed_step() -> None:
    error = diverges(without_pack)
    assert (error.call, error.recorded, error.attempted) == (2, "a call of step 'pack'", "a wait")


def test_an_added_step_names_the_line() -> None:
    error = diverges(with_another)
    assert (error.call, error.recorded, error.attempted) == (
        2,
        "a call of step 'pack'",
        "a call of step 'pick'",
    )
    line = inspect.getsourcelines(with_another)[1] + 2
    assert error.where == f"{__file__}:{line} in with_another"


def test_another_step() -> None:
    error = diverges(with_other)
    assert (error.recorded, error.attempted) == ("a call of step 'pack'", "a call of step 'ship'")


def test_reordered_steps() -> None:
    error = diverges(reordered)
    assert (error.call, error.recorded, error.attempted) == (
        1,
        "a call of step 'pick'",
        "a call of step 'pack'",
    )
    assert "in reordered" in error.where


def test_a_removed_wait() -> None:
    error = diverges(without_sleep)
    assert (error.recorded, error.attempted) == ("a wait", "a call of step 'ship'")


async def gathers() -> Any:
    return await asyncio.gather(pick("a"), pack("a"), ship("a"))


async def gathers_otherwise() -> Any:
    return await asyncio.gather(pick("a"), ship("a"), pack("a"))


async def gathers_fewer() -> Any:
    return await asyncio.gather(pick("a"), pack("a"))


def test_another_order_within_a_turn() -> None:
    error = diverges(gathers_otherwise, since=gathers)
    assert (error.call, error.attempted) == (2, "a call of step 'ship'")
    assert "in gathers_otherwise" in error.where


def test_fewer_calls_are_seen_where_the_missing_one_is_recorded() -> None:
    error = diverges(gathers_fewer, since=gathers)
    assert (error.call, error.recorded, error.attempted) == (3, "a call of step 'ship'", "nothing")


async def waits_at_one() -> Any:
    return await app.hook(str, token="one")


async def waits_at_two() -> Any:
    return await app.hook(str, token="two")


def test_another_token() -> None:
    owner = Owner(workflow(waits_at_one), payloads=[("one", "x")]).go()
    owner.execution.evict()
    with pytest.raises(NonDeterminismError) as caught:
        replay(workflow(waits_at_two), owner.history())
    assert caught.value.recorded == "a hook with token 'one'"
    assert caught.value.attempted == "a hook with token 'two'"
    assert "in waits_at_two" in caught.value.where


async def swallows() -> str:
    try:
        await ship("a")
    except Exception:  # noqa: BLE001
        await pack("a")
    return "a"


def test_code_cannot_swallow_it_and_go_on() -> None:
    assert diverges(swallows).call == 1


def test_the_run_asks_for_nothing_more_after_it() -> None:
    owner = Owner(workflow(original)).go()
    owner.execution.evict()
    diverged = Owner(workflow(swallows))
    diverged.execution.know(event for event, _ in owner.history())
    with pytest.raises(NonDeterminismError):
        diverged.start()
    assert diverged.execution.commands == []
    diverged.execution.evict()


async def longer() -> str:
    await original()
    return await ship("b")


def test_more_calls_than_a_finished_run_made_are_new_commands() -> None:
    owner = Owner(workflow(original)).go()
    owner.execution.evict()
    execution = replay(workflow(longer), owner.history())
    assert execution.outcome is None
    assert [recorded.call for recorded in execution.commands] == [5]
    execution.evict()
    assert isinstance(owner.turns[-1].event, run.StepCompleted)

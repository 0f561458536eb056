"""What a turn leaves behind, and what the loop refuses."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine
from typing import Any

from headwater.app import Headwater, Workflow
from headwater.runs import events as run
from headwater.workflows.commands import NewStep, NewWait
from tests.unit.workflows.driver import Owner

app = Headwater("turns")


@app.step
def work(name: str) -> str:
    return name


def owner(code: Callable[[], Coroutine[Any, Any, Any]]) -> Owner:
    return Owner(Workflow(code, name="w", version=1, timeout=None))


def ended(code: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    live = owner(code).go()
    live.execution.evict()
    assert live.execution.outcome is not None
    return live.execution.outcome.event


def test_a_timer_made_and_cancelled_in_a_turn_leaves_no_trace() -> None:
    async def code() -> None:
        for _ in range(3):
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_later(5, print).cancel()
        await work("a")

    live = owner(code).go()
    assert [type(command) for turn in live.turns for command in turn.commands] == [NewStep]
    live.execution.evict()


def test_a_timer_that_outlives_its_turn_is_recorded_once_and_cancelled_once() -> None:
    async def code() -> None:
        async with asyncio.timeout(60):
            await work("a")
            await work("b")

    live = owner(code).go()
    types = [event.type for event, _ in live.history()]
    assert types.count("wait_created") == types.count("wait_cancelled") == 1
    live.execution.evict()


def test_a_wait_without_end_is_no_timer() -> None:
    async def code() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(math.inf)

    live = owner(code).start()
    [wait] = live.turns[-1].commands
    assert isinstance(wait, NewWait)
    live.execution.evict()


def test_as_completed_over_bare_coroutines_is_refused_with_the_fix() -> None:
    async def two(name: str) -> str:
        return await work(await work(name))

    async def code() -> None:
        given = [two("a"), two("b")]
        try:
            for nearest in asyncio.as_completed(given):
                await nearest
        finally:
            for coroutine in given:
                coroutine.close()

    event = ended(code)
    assert isinstance(event, run.RunFailed)
    assert event.error.type == "NotInWorkflow"
    assert "as_completed" in event.error.message
    assert "create_task" in event.error.message


def test_what_reaches_outside_the_run_is_refused_with_the_fix() -> None:
    async def code() -> None:
        await asyncio.to_thread(print)

    event = ended(code)
    assert isinstance(event, run.RunFailed)
    assert "Make the function a step" in event.error.message


def test_a_call_that_is_never_awaited_does_nothing() -> None:
    async def code() -> str:
        work("never")
        return await work("a")

    live = owner(code).go()
    steps = [event for event, _ in live.history() if isinstance(event, run.StepCreated)]
    assert [step.input for step in steps] == [{"name": "a"}]
    live.execution.evict()


def test_a_call_that_is_awaited_twice_is_told_so() -> None:
    async def code() -> None:
        call = work("a")
        await call
        await call

    event = ended(code)
    assert isinstance(event, run.RunFailed)
    assert "awaited already" in event.error.message


def test_a_workflow_that_exits_the_interpreter_only_fails() -> None:
    async def code() -> None:
        await work("a")
        raise SystemExit(3)

    event = ended(code)
    assert isinstance(event, run.RunFailed)
    assert event.error.type == "SystemExit"


def test_a_step_is_a_coroutine_for_asyncio() -> None:
    async def code() -> bool:
        call = work("a")
        known = asyncio.iscoroutine(call) and inspect.isawaitable(call)
        await asyncio.create_task(call)
        return known

    assert ended(code) == run.RunCompleted(output=True)

"""A run that is let go does nothing more, whatever its clean-up code would; and nothing is said of it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from headwater.app import Headwater, Workflow
from headwater.errors import RunEvicted
from tests.unit.workflows import catalogue
from tests.unit.workflows.driver import Owner, at_random

app = Headwater("evicted")
SEEN: list[object] = []
SEEN_TASKS: list[object] = []


@pytest.fixture(autouse=True)
def seen(caplog: pytest.LogCaptureFixture) -> Any:
    SEEN.clear()
    SEEN_TASKS.clear()
    yield SEEN
    gc.collect()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@app.step
def charge() -> int:
    return 1


@app.step
def refund() -> int:
    return 1


def evicted(code: Callable[[], Coroutine[Any, Any, Any]]) -> Owner:
    """A run that was let go after its first step."""
    owner = Owner(Workflow(code, name="w", version=1, timeout=None)).start()
    owner.tell(owner.result(1))
    before = len(owner.turns)
    owner.execution.evict()
    assert owner.execution.commands == []
    assert len(owner.turns) == before
    assert owner.execution.outcome is None
    return owner


def test_a_finally_that_refunds_does_not_refund() -> None:
    async def code() -> None:
        await charge()
        try:
            await asyncio.sleep(60)
        finally:
            try:
                await refund()
            except BaseException as error:
                SEEN.append(type(error))
                raise

    evicted(code)
    assert [RunEvicted] == SEEN


def test_nothing_can_be_recorded_any_more() -> None:
    async def code() -> None:
        await charge()
        try:
            await asyncio.sleep(60)
        finally:
            for ask in (lambda: app.set_state("x"), lambda: app.hook(int), lambda: app.set_attributes(a="b")):
                try:
                    ask()
                except RunEvicted as error:
                    SEEN.append(type(error))

    evicted(code)
    assert [RunEvicted] * 3 == SEEN


def test_clean_up_that_will_not_end_ends_where_it_awaits() -> None:
    async def code() -> None:
        await charge()
        while True:
            try:
                await asyncio.sleep(60)
            except BaseException:
                SEEN.append("again")
                if len(SEEN) > 4:
                    raise

    evicted(code)
    assert len(SEEN) == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_that_tries_again_for_ever_does_not_hang_the_worker() -> None:
    async def code() -> None:
        await charge()
        while True:
            with suppress(BaseException):
                await refund()

    evicted(code)


def test_clean_up_that_sleeps_first_does_not_go_on() -> None:
    async def code() -> None:
        await charge()
        try:
            await asyncio.sleep(60)
        finally:
            with suppress(Exception):
                await asyncio.sleep(1)
            SEEN.append("slept")
            await refund()
            SEEN.append("refunded")

    evicted(code)
    gc.collect()
    assert SEEN == []


def test_tasks_that_are_not_advanced_yet_never_are() -> None:
    async def never() -> None:
        SEEN.append("began")

    async def code() -> None:
        await charge()
        try:
            await asyncio.sleep(60)
        finally:
            SEEN_TASKS.append(asyncio.create_task(never()))

    evicted(code)
    gc.collect()
    assert SEEN == []


def test_generators_do_not_run_on() -> None:
    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            SEEN.append("closed")

    async def code() -> None:
        held = numbers()
        await anext(held)
        other = numbers()
        await anext(other)
        cycle: list[Any] = [other]
        cycle.append(cycle)
        del other
        await charge()
        await asyncio.sleep(60)
        del held

    evicted(code)
    gc.collect()
    assert SEEN == []


def test_a_group_of_tasks_is_let_go_as_one() -> None:
    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await refund()

    async def code() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(child())
            await charge()

    evicted(code)


@pytest.mark.parametrize("workflow", catalogue.WORKFLOWS, ids=lambda w: w.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_workflow_can_be_let_go_at_every_place(workflow: Workflow[..., Any], seed: int) -> None:
    def owner() -> Owner:
        return Owner(workflow, choose=at_random(seed), payloads=catalogue.PAYLOADS)

    whole = owner().go()
    whole.execution.evict()
    for at in range(1, len(whole.turns)):
        part = owner()
        for turn in whole.turns[1 : at + 1]:
            part.tell(turn.event)
        part.execution.evict()
        assert part.execution.commands == []
    gc.collect()

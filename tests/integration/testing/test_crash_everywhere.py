"""Workflows crashed at every boundary: good ones survive, and each kind of wrong one is caught."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from headwater import Client, FatalError, Headwater, RunHandle, Workflow, current_step
from headwater.testing import CrashFailure, Effects, assert_replays, crash_everywhere, record_history
from tests.unit.workflows import catalogue

DAY = 86_400
app = Headwater("shop")
effects = Effects()


class Order(BaseModel):
    id: str
    amount: int


class Receipt(BaseModel):
    order: str
    amount: int


class Picture(BaseModel):
    name: str


class Approval(BaseModel):
    by: str


@app.step(retries=5, timeout=30)
async def charge(order: Order) -> Receipt:
    effects.add("charge", key=current_step().key)
    await asyncio.sleep(2)
    return Receipt(order=order.id, amount=order.amount)


@app.step(queue="gpu")
async def render(order: Order) -> Picture:
    effects.add("render", key=current_step().key)
    return Picture(name=order.id)


@app.step
def notify(order: Order) -> None:
    effects.add("notify", key=current_step().key)


@app.step(retries=2)
async def flaky() -> int:
    if current_step().attempt == 1:
        raise ConnectionError("not yet")
    return 1


@app.workflow
async def fulfil(order: Order) -> Receipt:
    receipt = await charge(order)
    async with asyncio.timeout(3 * DAY):
        approval = await app.hook(Approval, token=f"approve:{order.id}")
    app.set_state(f"approved by {approval.by}")
    await asyncio.gather(render(order), notify(order))
    await asyncio.sleep(DAY)
    return receipt


async def approve(hw: Client, run: RunHandle[Any]) -> None:
    await hw.send("approve:7", Approval(by="Ann"), key="once")


ORDER = Order(id="7", amount=3)


def test_the_example_survives_every_crash() -> None:
    assert crash_everywhere(fulfil, ORDER, app=app, drive=approve, effects=effects) > 10
    assert effects.count() == {"charge": 1, "notify": 1, "render": 1}


def test_it_survives_them_on_sqlite() -> None:
    assert crash_everywhere(fulfil, ORDER, app=app, drive=approve, effects=effects, kept="sqlite") > 10


@app.workflow
async def late(order: Order) -> str:
    try:
        async with asyncio.timeout(3 * DAY):
            await app.hook(Approval, token=f"approve:{order.id}")
    except TimeoutError:
        await notify(order)
        return "late"
    return "in time"


def test_waiting_for_days_costs_nothing() -> None:
    assert crash_everywhere(late, ORDER, app=app, effects=effects) > 4


@app.workflow
async def retried() -> int:
    return await flaky() + await flaky()


def test_retries_may_differ() -> None:
    assert crash_everywhere(retried, app=app) > 2


async def send_numbers(hw: Client, run: RunHandle[Any]) -> None:
    for token, payload in catalogue.PAYLOADS:
        await hw.send(token, payload, key=f"{token} {payload}")


@pytest.mark.parametrize("workflow", catalogue.WORKFLOWS, ids=lambda w: w.name)
def test_each_piece_of_asyncio_survives_every_crash(workflow: Workflow[..., Any]) -> None:
    drive = send_numbers if workflow is catalogue.hooked else None
    assert crash_everywhere(workflow, app=catalogue.app, drive=drive) > 6


def test_it_can_be_called_from_an_async_test() -> None:
    async def test() -> int:
        return crash_everywhere(retried, app=app)

    assert asyncio.run(test()) > 2


@app.step
def refuse() -> None:
    raise FatalError("no")


@app.workflow
async def undone(order: Order) -> None:
    try:
        await charge(order)
        await refuse()
    finally:
        await notify(order)


def test_a_run_that_fails_fails_the_same() -> None:
    assert crash_everywhere(undone, ORDER, app=app, effects=effects) > 4


async def cancel(hw: Client, run: RunHandle[Any]) -> None:
    while (await run.state()).status == "pending":
        await asyncio.sleep(1)
    await run.cancel("enough")


@app.workflow
async def cancelled(order: Order) -> None:
    try:
        await asyncio.sleep(DAY)
    finally:
        await notify(order)


def test_a_cancelled_run_cleans_up_the_same() -> None:
    assert crash_everywhere(cancelled, ORDER, app=app, drive=cancel, effects=effects) > 2


COUNT = [0]


@app.workflow
async def counts(order: Order) -> None:
    COUNT[0] += 1
    if COUNT[0] == 1:
        await charge(order)
    await notify(order)


def test_a_workflow_that_depends_on_more_than_its_events_is_caught() -> None:
    COUNT[0] = 0
    with pytest.raises(CrashFailure, match=r"crashed just .* append 1 \(run_started, step_created") as caught:
        crash_everywhere(counts, ORDER, app=app, effects=effects)
    assert caught.value.boundary == 0
    assert "Without the crash:" in str(caught.value)
    assert "step_created  call=1 name='charge'" in str(caught.value)


def test_code_that_diverges_is_shown_with_both_calls() -> None:
    COUNT[0] = -3

    async def flips(order: Order) -> None:
        COUNT[0] += 1
        await (charge if COUNT[0] % 2 else notify)(order)
        await asyncio.sleep(1)

    flipping = Headwater("flips")
    flipping.steps |= app.steps
    with pytest.raises(CrashFailure, match=r"held|ended with|history differs|effect"):
        crash_everywhere(flipping.workflow(flips), ORDER, app=flipping, effects=effects)


@app.step
async def charge_twice(order: Order) -> None:
    effects.add("charge")


@app.workflow
async def careless(order: Order) -> None:
    await charge_twice(order)


def test_an_effect_without_the_key_is_caught() -> None:
    with pytest.raises(CrashFailure, match="effect 'charge' happened 2 times, not 1") as caught:
        crash_everywhere(careless, ORDER, app=app, effects=effects)
    assert "current_step().key" in str(caught.value)


def test_a_run_that_nobody_sends_to_is_told_so() -> None:
    with pytest.raises(CrashFailure, match="Open hooks: 'open'"):
        crash_everywhere(waits, app=app)


@app.workflow
async def waits() -> str:
    return await app.hook(str, token="open")


def test_a_golden_history_replays(tmp_path: Path) -> None:
    golden = tmp_path / "fulfil.jsonl"
    record_history(golden, fulfil, ORDER, app=app, drive=approve)
    assert_replays(fulfil, golden)


def test_changed_code_does_not_replay_a_golden_history(tmp_path: Path) -> None:
    golden = tmp_path / "fulfil.jsonl"
    record_history(golden, fulfil, ORDER, app=app, drive=approve)
    changed = Headwater("shop")
    changed.steps |= app.steps

    async def code(order: Order) -> Receipt:
        await notify(order)
        return await charge(order)

    with pytest.raises(AssertionError, match="recorded as a call of step 'charge'"):
        assert_replays(changed.workflow(name="fulfil")(code), golden)

"""Cancelling and resuming."""

import asyncio
from datetime import UTC, datetime

import pytest

from headwater.errors import FenceLost, RunFinished, RunNotFound, RunNotHeld
from headwater.log.log import Log
from headwater.log.port import Release
from headwater.runs.creation import NewRun
from headwater.runs.events import (
    ChildStarted,
    HookCreated,
    RunCancelled,
    RunCompleted,
    RunHeld,
    StepCreated,
    WaitCreated,
)
from headwater.runs.rows import fence_key
from headwater.runs.state import RunState
from headwater.runs.store import Runs
from tests.integration.runs.owner import go_on, started

HELD = RunHeld(reason="diverged", message="line 3")
UNTIL = datetime(2031, 1, 1, tzinfo=UTC)


async def types(runs: Runs, run: str = "r") -> list[str]:
    return [event.type async for event in runs.events(run)]


async def let_go(log: Log, run: str = "r") -> None:
    [fence] = await log.backend.fences("default", [fence_key(run)])
    assert await log.backend.release([Release("default", fence.key, fence.epoch, fence.wakes)]) == [True]


async def test_a_pending_run_that_nobody_owns_is_cancelled_at_once(runs: Runs, log: Log) -> None:
    await runs.create(NewRun(id="r", workflow="w"))
    await runs.cancel("r", reason="not wanted", actor="ann")
    await runs.cancel("r")
    assert await types(runs) == ["run_created", "cancel_requested", "run_cancelled"]
    assert await log.backend.fences("default", [fence_key("r")]) == []
    assert [listed.status for listed in await runs.list()] == ["cancelled"]
    ended = await runs.outcome("r")
    assert isinstance(ended, RunCancelled)
    assert ended.reason == "not wanted"


async def test_a_running_run_is_asked_and_its_owner_woken_once(runs: Runs, log: Log) -> None:
    await started(runs, "r")
    for reason in ("a", "a", "b"):
        await runs.cancel("r", reason=reason)
    [fence] = await log.backend.fences("default", [fence_key("r")])
    assert (await types(runs), fence.wakes) == (["run_created", "run_started", "cancel_requested"], 1)
    await go_on(runs, "r", RunCancelled())
    await runs.cancel("r")


async def test_a_held_run_is_cancelled_at_once_and_gives_back_what_it_holds(runs: Runs, log: Log) -> None:
    await runs.create(NewRun(id="c", workflow="w"))
    await started(
        runs,
        "r",
        HookCreated(call=1, token="t"),
        WaitCreated(call=2, until=UNTIL),
        StepCreated(call=3, name="s", input=None, queue="q"),
        ChildStarted(call=4, run="c", workflow="w"),
        HELD,
    )
    await let_go(log)
    await runs.cancel("r")
    backend = log.backend
    assert (await runs.get("r")).status == "cancelled"
    assert (await runs.get("c")).status == "cancelled"
    assert not await backend.keys("default")
    assert not await backend.due("default", by_now=False)
    assert not await backend.ready("default", "q")
    assert not await backend.fences("default", [fence_key("r"), fence_key("c")])


async def test_a_child_is_asked_since_its_end_must_reach_its_parent(runs: Runs) -> None:
    await runs.create(NewRun(id="r", workflow="w", parent="p"))
    await runs.cancel("r")
    assert await types(runs) == ["run_created", "cancel_requested"]


async def test_a_run_that_has_ended_otherwise_cannot_be_cancelled(runs: Runs) -> None:
    await started(runs, "r", RunCompleted(output=1))
    with pytest.raises(RunFinished) as caught:
        await runs.cancel("r")
    assert (caught.value.run, caught.value.status) == ("r", "completed")
    with pytest.raises(RunNotFound):
        await runs.cancel("other")


async def test_of_a_cancel_and_an_end_at_once_either_way_is_whole(runs: Runs) -> None:
    for i in range(10):
        run = f"r{i}"
        await started(runs, run)
        both = [go_on(runs, run, RunCompleted(output=1)), runs.cancel(run)]
        _, cancelled = await asyncio.gather(*(both if i % 2 else both[::-1]), return_exceptions=True)
        kinds = (await types(runs, run))[2:]
        assert kinds in (["run_completed"], ["cancel_requested", "run_completed"])
        assert cancelled is None or isinstance(cancelled, RunFinished)


async def test_of_a_cancel_at_once_and_a_claim_one_wins(runs: Runs, log: Log) -> None:
    for i in range(10):
        run = f"r{i}"
        await runs.create(NewRun(id=run, workflow="w"))
        claim = log.backend.claim("default", [fence_key(run)], "me")
        await asyncio.gather(runs.cancel(run), claim)
        state = await runs.get(run)
        assert state.cancel_requested
        assert (state.status == "cancelled") == (not await log.backend.fences("default", [fence_key(run)]))


async def test_a_held_run_goes_on_when_it_is_resumed(runs: Runs, log: Log) -> None:
    await started(runs, "r", HELD)
    await let_go(log)
    await runs.resume("r", actor="ann")
    state = await runs.get("r")
    [fence] = await log.backend.fences("default", [fence_key("r")])
    assert (state.status, state.held, fence.wakes > fence.seen) == ("running", None, True)
    assert [listed.status for listed in await runs.list()] == ["running"]
    with pytest.raises(RunNotHeld):
        await runs.resume("r")


async def test_of_two_that_resume_one_does(runs: Runs) -> None:
    await started(runs, "r", HELD)
    outcomes = await asyncio.gather(runs.resume("r"), runs.resume("r"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "RunNotHeld"]
    assert (await types(runs)).count("run_released") == 1


async def test_what_has_ended_or_never_was_cannot_be_resumed(runs: Runs) -> None:
    await started(runs, "r", RunCompleted(output=1))
    with pytest.raises(RunFinished):
        await runs.resume("r")
    with pytest.raises(RunNotFound):
        await runs.resume("other")


async def test_an_owner_is_refused_after_its_run_was_cancelled_at_once(runs: Runs, log: Log) -> None:
    await started(runs, "r", HELD)
    await let_go(log)
    await runs.cancel("r")
    with pytest.raises(FenceLost):
        await go_on(runs, "r", StepCreated(call=1, name="s", input=None))


@pytest.mark.parametrize("what", ["claimed", "resumed"])
async def test_a_run_that_is_taken_up_while_it_is_being_cancelled_is_asked_instead(
    runs: Runs, log: Log, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await started(runs, "r", HELD)
    await let_go(log)
    get, again = runs.get, Runs(log)

    async def meanwhile(run: str, tenant: str) -> RunState:
        state = await get(run, tenant)
        if what == "claimed":
            await log.backend.claim("default", [fence_key("r")], "me")
        else:
            await again.resume("r")
        return state

    monkeypatch.setattr(runs, "get", meanwhile)
    await runs.cancel("r")
    assert (await types(runs))[-1] == "cancel_requested"
    assert (await get("r")).status == ("held" if what == "claimed" else "running")
    assert len(await log.backend.fences("default", [fence_key("r")])) == 1

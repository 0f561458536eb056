"""Runs of another protocol: legacy ones can be read, cancelled and sent to; newer ones are left alone."""

from datetime import UTC, datetime

import pytest

from headwater.errors import HookNotFound, RunFinished, RunNotSupportedError
from headwater.events.envelope import NewEvent, RawEvent
from headwater.log.log import Log
from headwater.log.side import OpenFence, SetDue, SideRow, TakeKey
from headwater.log.write import Write
from headwater.runs.creation import NewRun
from headwater.runs.rows import HookPlace, due_key, fence_key, label_of, run_stream, token_key
from headwater.runs.store import Runs

UNTIL = datetime(2031, 1, 1, tzinfo=UTC)
HISTORY = [
    RawEvent("run_created", {"workflow": "w", "input": 1}),
    RawEvent("run_started", {"worker": "old"}),
    RawEvent("step_created", {"call": 1, "name": "s", "input": None}),
    RawEvent("step_started", {"call": 1, "attempt": 1, "worker": "old"}),
    RawEvent("step_failed", {"call": 1, "attempt": 1, "error": "it broke"}),
    RawEvent("hook_created", {"call": 2, "token": "t"}),
    RawEvent("wait_created", {"call": 3, "until": UNTIL.isoformat()}),
]


async def written(log: Log, spec: int, *more: RawEvent, fenced: bool = True) -> None:
    rows: list[SideRow] = [TakeKey(token_key("t"), str(HookPlace("r", 2))), SetDue(due_key("r", 3), UNTIL)]
    if fenced:
        rows.append(OpenFence(fence_key("r"), label_of("w", 1, spec)))
    events = [NewEvent(event=event, run_id="r", spec_version=spec) for event in (*HISTORY, *more)]
    await log.append(Write(run_stream("r"), events, rows=rows))


async def test_old_text_errors_stay_readable(runs: Runs, log: Log) -> None:
    await written(log, 1, RawEvent("run_failed", {"error": "all of it"}))
    state = await runs.get("r")
    assert state.error is not None
    assert state.steps[1].error is not None
    assert (state.spec_version, state.error.message, state.steps[1].error.message) == (
        1,
        "all of it",
        "it broke",
    )


@pytest.mark.parametrize("fenced", [True, False])
async def test_cancelling_changes_rows_and_writes_no_event(runs: Runs, log: Log, fenced: bool) -> None:
    await written(log, 1, fenced=fenced)
    for _ in range(2):
        await runs.cancel("r")
    assert await log.version(run_stream("r")) == len(HISTORY)
    assert [listed.status for listed in await runs.list()] == ["cancelled"]
    assert not await log.backend.keys("default")
    assert not await log.backend.fences("default", [fence_key("r")])


async def test_one_that_has_ended_cannot_be_cancelled(runs: Runs, log: Log) -> None:
    await written(log, 1, RawEvent("run_completed", {"output": 1}))
    with pytest.raises(RunFinished):
        await runs.cancel("r")


@pytest.mark.parametrize(("fenced", "run"), [(True, None), (False, "r"), (False, None)])
async def test_payloads_and_ended_timers_are_stored_and_move_no_rows(
    runs: Runs, log: Log, fenced: bool, run: str | None
) -> None:
    await written(log, 1, fenced=fenced)
    await runs.send("t", {"n": 1}, run=run, key="k")
    assert not (await runs.send("t", {"n": 1}, run=run, key="k")).new
    await runs.complete_wait("r", 3)
    events = [event async for event in runs.events("r")][len(HISTORY) :]
    assert [(e.type, e.spec_version) for e in events] == [("hook_received", 1), ("wait_completed", 1)]
    assert [key.key for key in await log.backend.keys("default")] == [token_key("t")]
    assert [due.key for due in await log.backend.due("default", by_now=False)] == [due_key("r", 3)]
    assert [fence.wakes for fence in await log.backend.fences("default", [fence_key("r")])] == [0] * fenced
    assert (await runs.hooks("r"))[2].received == 1


async def test_a_payload_without_a_token_that_anybody_holds_finds_a_legacy_run_by_its_id(
    runs: Runs, log: Log
) -> None:
    events = [NewEvent(event=event, spec_version=1) for event in HISTORY]
    await log.append(Write(run_stream("r"), events))
    with pytest.raises(HookNotFound):
        await runs.send("t", 1)
    assert (await runs.send("t", 1, run="r")).new


async def test_all_else_is_refused(runs: Runs, log: Log) -> None:
    await written(log, 1)
    with pytest.raises(RunNotSupportedError, match="cannot be resumed: it is a legacy run") as caught:
        await runs.resume("r")
    assert (caught.value.run, caught.value.spec_version, caught.value.supported) == ("r", 1, 2)


async def test_newer_runs_are_left_alone(runs: Runs, log: Log) -> None:
    await written(log, 3)
    for refused in (
        runs.get("r"),
        runs.cancel("r"),
        runs.send("t", 1),
        runs.resume("r"),
        runs.complete_wait("r", 3),
        runs.create(NewRun(id="r", workflow="w", input=1)),
    ):
        with pytest.raises(RunNotSupportedError, match="newer"):
            await refused
    assert await log.version(run_stream("r")) == len(HISTORY)

"""Reading runs: at a version, at a time, event by event, their end, and the list."""

import gc

import pytest

from headwater.errors import RunNotFound
from headwater.events.envelope import NewEvent
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.runs.creation import NewRun
from headwater.runs.events import (
    RunCompleted,
    RunEvent,
    RunStateChanged,
    StepCompleted,
    StepCreated,
    StepStarted,
)
from headwater.runs.reading import BATCH
from headwater.runs.rows import run_stream
from headwater.runs.state import RunState
from headwater.runs.store import Runs
from tests.integration.runs.owner import go_on, started


async def append(log: Log, run: str, *events: RunEvent) -> None:
    await log.append(Write(run_stream(run), [NewEvent(event=event, run_id=run) for event in events]))


async def test_a_run_is_read_at_a_version_and_at_a_time(runs: Runs, log: Log) -> None:
    await started(runs, "r")
    for n in range(3):
        await append(log, "r", RunStateChanged(call=n, name="state", to=n))
    times = [event.recorded_at async for event in runs.events("r")]
    assert [(await runs.get("r", version=version)).state for version in (2, 3, 4, 5)] == [None, 0, 1, 2]
    assert (await runs.get("r", version=1)).status == "pending"
    at = await runs.get("r", until=times[3])
    assert at.version == max(n for n, time in enumerate(times, 1) if time <= times[3])
    with pytest.raises(RunNotFound):
        await runs.get("other")


async def test_each_application_can_be_watched(runs: Runs, log: Log) -> None:
    await started(runs, "r", RunStateChanged(call=1, name="state", to="x"))
    seen: list[tuple[str, str, object]] = []
    await runs.get("r", watch=lambda recorded, state: seen.append((recorded.type, state.status, state.state)))
    assert seen == [
        ("run_created", "pending", None),
        ("run_started", "running", None),
        ("run_state_changed", "running", "x"),
    ]


async def test_with_and_without_snapshots_it_is_the_same(runs: Runs, log: Log) -> None:
    await started(runs, "r")
    await append(log, "r", *[e for n in range(1, 40) for e in step(n)])
    first = await runs.get("r")
    await runs.folder.settled()
    await append(log, "r", *step(41))
    seen: list[RunState] = []
    slow = await runs.get("r", snapshots=False, watch=lambda _, state: seen.append(state))
    assert await runs.get("r") == slow
    assert seen[-2 - len(step(41)) + 1] == first
    assert len(slow.steps) == 40


async def test_a_state_that_a_snapshot_cannot_hold_is_folded_each_time(
    runs: Runs, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    await started(runs, "r")
    await append(log, "r", *[e for n in range(1, 20) for e in step(n)])
    await append(log, "r", RunStateChanged(call=100, name="state", to="\ud800\x00"))
    for _ in range(2):
        assert (await runs.get("r")).state == "\ud800\x00"
        await runs.folder.settled()
    gc.collect()
    assert caplog.records == []


def step(call: int) -> list[RunEvent]:
    return [
        StepCreated(call=call, name="s", input={"n": call}),
        StepStarted(call=call, attempt=1, worker="me"),
        StepCompleted(call=call, attempt=1, output=[call]),
    ]


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 50])
async def test_events_come_in_order_through_all_batches(runs: Runs, log: Log, count: int) -> None:
    await started(runs, "r")
    await append(log, "r", *[RunStateChanged(call=n, name="n", to=n) for n in range(count - 2)])
    assert [event.version async for event in runs.events("r")] == list(range(1, count + 1))
    assert [event.version async for event in runs.events("r", to_version=BATCH)] == list(
        range(1, min(count, BATCH) + 1)
    )
    times = [event.recorded_at async for event in runs.events("r")]
    until = [event.version async for event in runs.events("r", until=times[1])]
    assert until == [n for n, time in enumerate(times, 1) if time <= times[1]]


@pytest.mark.parametrize("late", [0, 2, 3, 130])
async def test_the_end_is_found_behind_the_results_that_came_later(runs: Runs, log: Log, late: int) -> None:
    await started(runs, "r")
    for n in range(1, late + 2):
        await append(log, "r", *step(n)[:2])
    assert await runs.outcome("r") is None
    await go_on(runs, "r", RunCompleted(output="x"))
    await append(log, "r", *[step(n)[2] for n in range(1, late + 2)])
    ended = await runs.outcome("r")
    assert isinstance(ended, RunCompleted)
    assert ended.output == "x"


async def test_a_run_without_an_end_has_no_outcome_and_one_that_is_not_there_is_an_error(runs: Runs) -> None:
    await runs.create(NewRun(id="r", workflow="w"))
    assert await runs.outcome("r") is None
    with pytest.raises(RunNotFound):
        await runs.outcome("other")


async def test_the_list_is_filtered_and_paged(runs: Runs) -> None:
    for n in range(5):
        await runs.create(NewRun(id=f"r{n}", workflow="odd" if n % 2 else "even"))
    await started(runs, "s")
    assert [listed.run for listed in await runs.list(workflow="odd")] == ["r3", "r1"]
    assert [listed.run for listed in await runs.list(status="running")] == ["s"]
    assert len(await runs.list(status=("running", "pending"))) == 6
    page = await runs.list(limit=4)
    rest = await runs.list(limit=4, before=page[-1])
    assert [listed.run for listed in (*page, *rest)] == ["s", "r4", "r3", "r2", "r1", "r0"]
    assert await runs.list("another") == []


async def test_what_is_too_large_to_list_is_left_out(runs: Runs, log: Log) -> None:
    await started(runs, "r", RunStateChanged(call=1, name="state", to="x" * 100_000))
    await go_on(runs, "r", RunCompleted(output="y" * 100_000))
    [listed] = await runs.list()
    assert (listed.status, listed.state) == ("completed", None)
    assert len((await runs.get("r")).output) == 100_000

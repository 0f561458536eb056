"""An imported log has the rows that its runs stand for: those of the log it was exported from."""

import json
from datetime import UTC, datetime, timedelta

from headwater.events.envelope import NewEvent, RawEvent
from headwater.log.log import Log
from headwater.log.side import PutReady
from headwater.log.transfer import export_lines, import_lines
from headwater.log.write import Write
from headwater.runs.creation import NewRun
from headwater.runs.events import (
    ErrorInfo,
    HookCreated,
    HookDisposed,
    RunCompleted,
    RunHeld,
    RunStateChanged,
    StepCompleted,
    StepCreated,
    StepRetrying,
    StepStarted,
    WaitCancelled,
    WaitCompleted,
    WaitCreated,
)
from headwater.runs.rebuild import RunRows
from headwater.runs.rows import fence_key, ready_data, run_stream
from headwater.runs.store import Runs
from headwater.testing.contract import Site
from tests.integration.runs.owner import go_on, started

UNTIL = datetime(2031, 1, 1, tzinfo=UTC)
LARGE = "x" * 100_000


async def moved(log: Log, to: Log) -> None:
    lines = [line async for line in export_lines(log)]
    await import_lines(to, lines, RunRows())


async def test_open_hooks_waits_and_steps_are_there_again_and_the_run_is_woken(
    runs: Runs, log: Log, site: Site
) -> None:
    await runs.create(NewRun(id="p", workflow="w", workflow_version=7, attributes={"a": "b"}, parent="x"))
    await started(
        runs,
        "r",
        HookCreated(call=1, token="t1"),
        HookCreated(call=2, token="t2"),
        HookDisposed(call=2),
        WaitCreated(call=3, until=UNTIL),
        StepCreated(call=4, name="s", input=None, queue="q"),
        StepCreated(call=5, name="local", input=None),
        RunStateChanged(call=6, name="state", to="thinking"),
        RunStateChanged(call=7, name="other", to=1),
        RunHeld(reason="stuck", message="m"),
    )
    await started(
        runs,
        "done",
        HookCreated(call=1, token="t3"),
        WaitCreated(call=2, until=UNTIL),
        RunCompleted(output=1),
    )
    async with Log(site.fresh().backend()) as other:
        await moved(log, other)
        there, backend = Runs(other), other.backend
        assert await backend.keys("default") == await log.backend.keys("default")
        assert await backend.due("default", by_now=False) == await log.backend.due("default", by_now=False)
        [ready] = await backend.ready("default", "q")
        assert (ready.key, ready.data) == ("4/r", ready_data("r", 4, 1))
        fences = await backend.fences("default", [fence_key(run) for run in ("p", "r", "done")])
        assert [(f.key, f.label, f.epoch, f.holder, f.wakes > f.seen) for f in fences] == [
            ("run/p", "w@7~2", 0, None, True),
            ("run/r", "w@1~2", 0, None, True),
        ]
        listed = {listed.run: listed for listed in await there.list()}
        assert {run: one.status for run, one in listed.items()} == {
            "p": "pending",
            "r": "held",
            "done": "completed",
        }
        assert (listed["r"].state, listed["p"].attributes, listed["p"].parent) == (
            "thinking",
            {"a": "b"},
            "x",
        )
        assert (await there.send("t1", 5)).run == "r"


async def test_the_next_attempt_follows_the_last_that_began(runs: Runs, log: Log, site: Site) -> None:
    await started(runs, "r", *[StepCreated(call=n, name="s", input=None, queue="q") for n in (1, 2, 3)])
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    retry = StepRetrying(call=2, attempt=1, error=ErrorInfo(type="E", message="m"), retry_after=at)
    await go_on(
        runs,
        "r",
        StepStarted(call=1, attempt=1, worker="a"),
        StepStarted(call=2, attempt=1, worker="a"),
        retry,
        StepStarted(call=3, attempt=1, worker="a"),
        StepCompleted(call=3, attempt=1, output=1),
        WaitCreated(call=4, until=UNTIL),
        WaitCompleted(call=4),
        WaitCreated(call=5, until=UNTIL),
        WaitCancelled(call=5),
    )
    async with Log(site.fresh().backend()) as other:
        await moved(log, other)
        rows = await other.backend.ready("default", "q")
        assert {row.key: json.loads(row.data)["attempt"] for row in rows} == {"1/r": 2, "2/r": 2}
        assert {row.key: row.at for row in rows}["2/r"] == int(at.timestamp()) * 1_000_000
        assert not await other.backend.due("default", by_now=False)


async def test_large_payloads_are_seen_wherever_they_stand_in_the_export(
    runs: Runs, log: Log, site: Site
) -> None:
    await runs.create(*[NewRun(id=f"a{n}", workflow="w") for n in range(500)])
    await runs.create(
        NewRun(id="large", workflow="w1", input=LARGE)
    )  # its payload ends a batch of the import
    await runs.create(*[NewRun(id=f"b{n}", workflow="w") for n in range(600)])
    await runs.create(NewRun(id="again", workflow="w1", input=LARGE))  # stored once, for both
    async with Log(site.fresh().backend()) as other:
        await moved(log, other)
        assert [listed.run for listed in await Runs(other).list(workflow="w1")] == ["again", "large"]


async def test_a_legacy_run_keeps_its_hooks_and_has_no_timers(runs: Runs, log: Log, site: Site) -> None:
    history = [
        RawEvent("run_created", {"workflow": "w", "input": 1}),
        RawEvent("run_started", {"worker": "old"}),
        RawEvent("hook_created", {"call": 1, "token": "t"}),
        RawEvent("wait_created", {"call": 2, "until": UNTIL.isoformat()}),
    ]
    events = [NewEvent(event=event, spec_version=1) for event in history]
    await log.append(Write(run_stream("r"), events, rows=[PutReady("unrelated", "k")]))
    async with Log(site.fresh().backend()) as other:
        await moved(log, other)
        [fence] = await other.backend.fences("default", [fence_key("r")])
        assert fence.label == "w@1~1"
        assert not await other.backend.due("default", by_now=False)
        assert (await Runs(other).send("t", 1)).run == "r"

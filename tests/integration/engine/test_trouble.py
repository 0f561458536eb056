"""Races and bad luck that need no process to die: what a user would call right comes out of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from headwater import Headwater
from headwater.client import Client
from headwater.engine.options import EngineOptions
from headwater.errors import (
    FatalError,
    HookNotFound,
    HookTooEarly,
    InvalidName,
    LogUnavailable,
    PayloadRefused,
    RunCancelledError,
    RunFinished,
    RunHeldError,
    RunIdReused,
)
from headwater.events.clock import SystemClock
from headwater.events.envelope import NewEvent
from headwater.events.ids import derived_id
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.open import backend_for
from headwater.log.port import BatchUnknown, Call, Outcome
from headwater.log.side import Wake
from headwater.log.write import Write
from headwater.runs.events import CancelRequested, register_run_events, registry_of
from headwater.runs.rows import fence_key, run_stream
from headwater.worker import start
from tests.integration.engine.shop import app, approval, chat, fan, naps, nonsense, sleepy, sums, tidy

pytestmark = pytest.mark.timeout(90)


@asynccontextmanager
async def working(
    url: str, options: EngineOptions | None = None, app: Headwater = app
) -> AsyncIterator[Client]:
    """A client with a worker in this process."""
    async with app.connect(url, worker=True, options=options) as client:
        yield client


async def until_the_token_is_there(hw: Client, token: str) -> None:
    async with asyncio.timeout(10):
        while not await hw.log.backend.keys("default", f"hook/{token}"):
            await asyncio.sleep(0.01)


# Starting


class AnswerLost(MemoryBackend):
    """Loses the answer to the first batch, which is written."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        first = not self.lost
        self.lost = True
        outcomes = await super().append(shard, calls)
        if first:
            raise BatchUnknown
        return outcomes

    lost = False


async def test_a_start_whose_answer_was_lost_begins_all_the_same() -> None:
    registry = Registry()
    register_run_events(registry)
    async with Log(AnswerLost(), registry) as log, app.connect(log=log, worker=True) as here:
        run = await here.start(sums, 4)
        assert await run.result(20) == 6


async def test_two_starts_of_one_id_at_once_are_one_run(url: str, hw: Client) -> None:
    async with working(url) as here:
        clients = [hw, here] * 5
        runs = await asyncio.gather(*[client.start(sums, 4, id="same") for client in clients])
        assert sum(run.new for run in runs) == 1
        assert {await run.result(20) for run in runs} == {6}


async def test_an_id_that_is_used_for_something_else_is_an_error(url: str, hw: Client) -> None:
    await hw.start(sums, 4, id="mine")
    with pytest.raises(RunIdReused):
        await hw.start(sums, 5, id="mine")
    with pytest.raises(RunIdReused):
        await hw.start(naps, 4, 0.0, id="mine")


async def test_an_empty_id_is_refused(hw: Client) -> None:
    with pytest.raises(InvalidName):
        await hw.start(sums, 4, id="")


async def test_a_start_whose_caller_gives_up_is_not_stranded(url: str, hw: Client) -> None:
    async with working(url) as here:
        starting = asyncio.create_task(here.start(sums, 3, id="given-up"))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        run = await hw.start(sums, 3, id="given-up")
        assert await run.result(20) == 3


# Payloads


async def test_the_same_payload_sent_ten_times_at_once_counts_once(url: str, hw: Client) -> None:
    async with working(url) as here:
        run = await here.start(chat, "room", 3)
        await until_the_token_is_there(hw, "room")
        await asyncio.gather(*[client.send("room", "a", key="k1") for client in [hw, here] * 5])
        await hw.send("room", "b", key="k2")
        await here.send("room", "c")
        assert await run.result(20) == ["a", "b", "c"]


async def test_ten_payloads_at_once_for_a_hook_that_takes_one(url: str, hw: Client) -> None:
    async with working(url) as here:
        run = await here.start(approval, "door")
        await until_the_token_is_there(hw, "door")
        sent = await asyncio.gather(*[hw.send("door", f"p{n}") for n in range(10)], return_exceptions=True)
        assert await run.result(20) in {f"p{n}" for n, error in enumerate(sent) if error is None}
        assert all(error is None or isinstance(error, HookNotFound | RunFinished) for error in sent)


async def test_payloads_for_nobody_too_early_and_too_late_are_three_errors(url: str, hw: Client) -> None:
    with pytest.raises(HookNotFound):
        await hw.send("nobody", "x")
    run = await hw.start(approval, "later")
    with pytest.raises(HookTooEarly):
        await hw.send("later", "x", run=run.id)
    async with working(url):
        await until_the_token_is_there(hw, "later")
        await hw.send("later", "now")
        assert await run.result(20) == "now"
    with pytest.raises(RunFinished):
        await hw.send("later", "x", run=run.id)


async def test_the_second_run_that_asks_for_a_token_gets_a_conflict(url: str, hw: Client) -> None:
    async with working(url) as here:
        first = await here.start(approval, "one")
        await until_the_token_is_there(hw, "one")
        second = await here.start(approval, "one")
        with pytest.raises(Exception, match="held by a hook of run"):
            await second.result(20)
        await hw.send("one", "ok")
        assert await first.result(20) == "ok"
        assert [event.type async for event in hw.history(second.id)].count("hook_conflict") == 1


# Cancelling


async def test_cancelling_runs_the_clean_up_and_is_idempotent(url: str, hw: Client) -> None:
    async with working(url) as here:
        run = await here.start(tidy, 3600.0)
        await asyncio.gather(*[hw.cancel(run.id, "enough") for _ in range(5)])
        with pytest.raises(RunCancelledError, match="enough"):
            await run.result(20)
        await hw.cancel(run.id)
        state = await run.state()
        assert [step.output for step in state.steps.values()] == [42]


async def test_a_cancel_that_races_the_end_leaves_one_outcome(url: str, hw: Client) -> None:
    async with working(url) as here:
        runs = await asyncio.gather(*[here.start(sums, 3) for _ in range(30)])

        async def cancel(run: str) -> None:
            with suppress(RunFinished):
                await hw.cancel(run)

        await asyncio.gather(*[cancel(run.id) for run in runs])
        ends = await asyncio.gather(*[run.result(20) for run in runs], return_exceptions=True)
        assert all(end == 3 or isinstance(end, RunCancelledError) for end in ends)


async def test_a_run_that_nobody_executes_is_cancelled_at_once(hw: Client) -> None:
    run = await hw.start(sums, 3)
    await run.cancel("not needed")
    with pytest.raises(RunCancelledError):
        await run.result(5)


# Owners


async def test_every_run_leaves_memory_at_every_idle_point(url: str, hw: Client) -> None:
    async with working(url, EngineOptions(idle=0)) as here:
        talks = [await here.start(chat, f"talk{n}", 3) for n in range(5)]
        nappers = [await here.start(naps, 4, 0.05) for _ in range(10)]
        for line in "abc":
            for n in range(5):
                await until_the_token_is_there(hw, f"talk{n}")
                await hw.send(f"talk{n}", line)
        assert [await run.result(30) for run in talks] == [["a", "b", "c"]] * 5
        assert [await run.result(30) for run in nappers] == [4] * 10
        assert not here.engine.runs


async def test_more_runs_than_fit_into_memory_all_end(url: str, hw: Client) -> None:
    runs = [await hw.start(naps, 2, 0.1) for _ in range(60)]
    async with working(url, EngineOptions(runs=10)):
        assert await asyncio.gather(*[run.result(60) for run in runs]) == [2] * 60


async def test_a_claim_that_passes_a_stale_owner_refuses_it(url: str, hw: Client) -> None:
    async with working(url) as stale, working(url) as fresh:
        run = await stale.start(sleepy, 3, 0.3)
        await asyncio.sleep(0.2)
        await fresh.engine._claim_anew("default", f"run/{run.id}")
        assert len(await run.result(30)) == 3
        assert ("default", run.id) not in stale.engine.runs


async def test_clocks_an_hour_apart_change_no_timer(url: str, hw: Client) -> None:
    class Late(SystemClock):
        def now_us(self) -> int:
            return super().now_us() - int(timedelta(hours=1).total_seconds() * 1_000_000)

    registry = register_run_events(Registry(*app.events))
    async with Log(backend_for(url), registry, clock=Late()) as log:
        worker = await start(app, log)
        worker.engine._members._clock = Late()
        await worker.engine._members.beat_once()
        run = await hw.start(naps, 3, 0.2)
        started = asyncio.get_running_loop().time()
        assert await run.result(20) == 3
        assert 0.5 < asyncio.get_running_loop().time() - started < 15
        await worker.stop()


async def test_code_that_is_gone_leaves_its_runs_waiting(
    url: str, hw: Client, caplog: pytest.LogCaptureFixture
) -> None:
    empty = Headwater("empty")

    @empty.workflow
    async def other() -> int:
        return 1

    run = await hw.start(sums, 3)
    async with working(url, app=empty) as there:
        assert await (await there.start(other)).result(20) == 1
        with pytest.raises(TimeoutError):
            await run.result(3)
    assert "Nobody serves workflow sums@1" in caplog.text
    assert (await run.state()).status == "pending"
    async with working(url):
        assert await run.result(20) == 3


# Results


async def test_a_result_that_cannot_be_stored_is_a_final_failure_of_its_step(url: str, hw: Client) -> None:
    async with working(url) as here:
        run = await here.start(nonsense)
        with pytest.raises((PayloadRefused, FatalError), match="nan"):
            await run.result(20)
        [step] = (await run.state()).steps.values()
        assert step.status == "failed"
        assert step.attempt == 1


async def test_queued_steps_that_are_given_up_are_not_executed(url: str, hw: Client) -> None:
    async with working(url, EngineOptions(queues={})) as here:
        run = await here.start(fan, 5, 0.0)
        async with asyncio.timeout(10):
            while len(await hw.log.backend.ready(None, "far")) < 5:
                await asyncio.sleep(0.01)
        await run.cancel()
        with pytest.raises(RunCancelledError):
            await run.result(20)
        assert not await hw.log.backend.ready(None, "far")


async def test_ten_thousand_orphans_are_taken_over(url: str, hw: Client) -> None:
    number = 10_000
    registry = register_run_events(Registry(*app.events))
    async with Log(backend_for(url), registry) as log:
        lost = (await start(app, log, EngineOptions(runs=20_000))).engine
        from headwater.runs.creation import NewRun

        for first in range(0, number, 1000):
            news = [
                NewRun(id=f"o{n}", workflow="sums", input={"number": 1}) for n in range(first, first + 1000)
            ]
            await hw.runs.create(*news, owner=lost.worker)
        for task in lost._loops.tasks:
            task.cancel()
        await asyncio.wait(lost._loops.tasks)
        await hw.log.backend.sweep(dead=[lost.worker])
    async with working(url):
        last = hw.handle(f"o{number - 1}", sums)
        assert await last.result(80) == 0
        async with asyncio.timeout(80):
            while await hw.list(status="pending", limit=1) or await hw.list(status="running", limit=1):
                await asyncio.sleep(0.2)


def edited() -> Headwater:
    """The shop after somebody has changed what `approval` does first."""
    changed = Headwater("shop")

    @changed.step
    async def multiply(a: int, b: int) -> int:
        return a * b

    @changed.workflow(name="approval")
    async def other(token: str) -> int:
        return await multiply(6, 7)

    return changed


async def test_who_waits_for_a_run_that_is_held_is_told_why(url: str, hw: Client) -> None:
    changed = edited()
    async with working(url):
        run = await hw.start(approval, "gate")
        await until_the_token_is_there(hw, "gate")
    waiting = asyncio.create_task(run.result(30))
    async with working(url, app=changed):
        with pytest.raises(RunHeldError, match="recorded as a hook"):
            await waiting
        with pytest.raises(RunHeldError, match="multiply"):
            await run.result(30)
    async with working(url):
        await hw.resume(run.id)
        await hw.send("gate", "open")
        assert await run.result(30) == "open"


async def test_a_run_that_is_held_stays_so_whatever_arrives(url: str, hw: Client) -> None:
    async with working(url):
        run = await hw.start(approval, "gate")
        await until_the_token_is_there(hw, "gate")
    async with working(url, app=edited()) as here:
        with pytest.raises(RunHeldError):
            await run.result(30)
        await here.send("gate", "open")
        key = fence_key(run.id)
        while [f for f in await hw.log.backend.fences("default", [key]) if f.holder or f.wakes > f.seen]:
            await asyncio.sleep(0.02)
    events = [event.type async for event in hw.log.stream(run_stream(run.id))]
    assert events.count("run_held") == 1
    assert (await run.state()).status == "held"
    async with working(url):
        await hw.resume(run.id)
        assert await run.result(30) == "open"


async def test_a_run_that_is_held_can_be_cancelled_while_its_holder_has_not_let_go(
    url: str, hw: Client
) -> None:
    async with working(url):
        run = await hw.start(approval, "gate")
        await until_the_token_is_there(hw, "gate")
    async with working(url, app=edited()):
        with pytest.raises(RunHeldError):
            await run.result(30)
        # as `cancel` does that has looked a moment before the holder let go
        stream, key = run_stream(run.id), fence_key(run.id)
        asked = NewEvent(event=CancelRequested(reason="enough"), id=derived_id(stream, "cancel_requested"))
        await hw.log.append(Write(stream, [asked], rows=[Wake(key, needed=True)]))
        async with asyncio.timeout(20):
            while (await run.state()).status == "held":
                await asyncio.sleep(0.02)
        with pytest.raises(RunCancelledError, match="enough"):
            await run.result(30)
    assert not await hw.log.backend.fences("default", [key])


async def test_an_argument_that_cannot_be_stored_is_an_error_where_it_is_given(url: str, hw: Client) -> None:
    odd = Headwater("odd")

    @odd.step
    async def take(value: float) -> float:
        return value

    @odd.workflow
    async def give() -> str:
        try:
            await take(float("inf"))
        except PayloadRefused as refused:
            return str(refused)
        return "stored"

    async with working(url, app=odd) as here:
        assert "holds inf" in await (await here.start(give)).result(20)


async def test_a_mark_is_not_forgotten_when_reading_on_fails(
    url: str, hw: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(url) as here:
        run = await here.start(approval, "shaky")
        await until_the_token_is_there(hw, "shaky")
        read, failed = here.log.read_streams, list[str]()

        async def fails_at_first(*asked: Any) -> Any:
            if len(failed) < 2:
                failed.append("once")
                raise LogUnavailable
            return await read(*asked)

        monkeypatch.setattr(here.log, "read_streams", fails_at_first)
        await hw.send("shaky", "yes")
        assert await run.result(20) == "yes"
        assert len(failed) == 2


async def test_a_run_that_is_released_before_its_owner_knows_that_it_is_held_goes_on(
    url: str, hw: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(url):
        run = await hw.start(approval, "gate")
        await until_the_token_is_there(hw, "gate")
    changed, written, told = edited(), asyncio.Event(), asyncio.Event()
    async with Log(backend_for(url), registry_of(changed)) as log:
        append = log.backend.append

        async def answered_late(shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
            outcomes = await append(shard, calls)
            if any(row.type == "run_held" for call in calls for write in call.writes for row in write.rows):
                written.set()
                await told.wait()
            return outcomes

        monkeypatch.setattr(log.backend, "append", answered_late)
        async with changed.connect(log=log, worker=True):
            await asyncio.wait_for(written.wait(), 20)
            await hw.resume(run.id)
            await until_seen(hw, run.id)
            told.set()
            async with asyncio.timeout(20):
                while [e.type async for e in hw.log.stream(run_stream(run.id))].count("run_held") < 2:
                    await asyncio.sleep(0.02)
    async with working(url):
        await hw.resume(run.id)
        await hw.send("gate", "open")
        assert await run.result(30) == "open"


async def until_seen(hw: Client, run: str) -> None:
    """Until the owner has seen all marks."""
    async with asyncio.timeout(10):
        while True:
            [fence] = await hw.log.backend.fences("default", [fence_key(run)])
            if fence.seen == fence.wakes:
                return
            await asyncio.sleep(0.01)

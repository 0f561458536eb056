"""Payloads from outside: once each key, to whoever holds the token, and an error that says why not."""

import asyncio

import pytest

from headwater.errors import (
    EventIdReused,
    HeadwaterError,
    HookNotFound,
    HookTooEarly,
    InvalidName,
    RunFinished,
    RunNotFound,
)
from headwater.log.log import Log
from headwater.runs.events import HookConflict, HookCreated, HookDisposed, HookReceived, RunCompleted
from headwater.runs.rows import fence_key
from headwater.runs.sending import Sent
from headwater.runs.store import Runs
from tests.integration.runs.owner import go_on, started

HOOK = HookCreated(call=1, token="t")


async def payloads(runs: Runs, run: str = "r") -> list[object]:
    events = [event.event async for event in runs.events(run)]
    return [event.payload for event in events if isinstance(event, HookReceived)]


async def test_a_payload_reaches_the_run_that_holds_the_token_and_wakes_it(runs: Runs, log: Log) -> None:
    await started(runs, "r", HOOK)
    sent = await runs.send("t", {"yes": True}, actor="ann")
    [fence] = await log.backend.fences("default", [fence_key("r")])
    assert (sent.run, sent.call, sent.new, fence.wakes) == ("r", 1, True, 1)
    assert await payloads(runs) == [{"yes": True}]
    assert (await runs.hooks("r"))[1].received == 1


async def test_ten_sends_of_one_key_at_once_count_once(runs: Runs) -> None:
    await started(runs, "r", HOOK)
    sent = await asyncio.gather(*[runs.send("t", {"n": 1}, key="mail-7") for _ in range(10)])
    assert [s.new for s in sent].count(True) == 1
    assert len({s.appended.positions for s in sent}) == 1
    assert await payloads(runs) == [{"n": 1}]


async def test_without_a_key_each_counts(runs: Runs) -> None:
    await started(runs, "r", HOOK)
    await asyncio.gather(*[runs.send("t", n) for n in range(5)])
    assert sorted(map(str, await payloads(runs))) == ["0", "1", "2", "3", "4"]


async def test_a_key_stands_for_one_payload(runs: Runs) -> None:
    await started(runs, "r", HOOK)
    await runs.send("t", "x" * 100_000, key="k")
    assert not (await runs.send("t", "x" * 100_000, key="k")).new
    with pytest.raises(EventIdReused):
        await runs.send("t", 2, key="k")


async def test_a_second_try_finds_its_first_after_the_token_was_given_back_or_has_moved(runs: Runs) -> None:
    await started(runs, "r", HOOK)
    first = await runs.send("t", 1, key="k")
    await go_on(runs, "r", HookDisposed(call=1))
    assert (await runs.send("t", 1, key="k")).appended.positions == first.appended.positions
    await started(runs, "next", HOOK)
    assert (await runs.send("t", 1, key="k")).run == "r"
    assert await payloads(runs, "next") == []
    assert (await runs.send("t", 1, key="other")).run == "next"


async def test_the_errors_tell_why(runs: Runs) -> None:
    await started(runs, "r", HookCreated(call=1, token="tt"), HookConflict(call=2, token="c", holder="x"))
    with pytest.raises(HookNotFound):
        await runs.send("t", 1)
    with pytest.raises(HookTooEarly):
        await runs.send("t", 1, run="r")
    with pytest.raises(HookTooEarly):
        await runs.send("c", 1, run="r")
    with pytest.raises(RunNotFound):
        await runs.send("t", 1, run="nobody")
    with pytest.raises(HookNotFound):
        await runs.send("tt", 1, tenant="another")
    with pytest.raises(InvalidName):
        await runs.send("", 1)
    await go_on(runs, "r", HookDisposed(call=1))
    with pytest.raises(HookNotFound):
        await runs.send("tt", 1, run="r")
    await go_on(runs, "r", RunCompleted(output=None))
    with pytest.raises(RunFinished):
        await runs.send("tt", 1, run="r")
    with pytest.raises(HookNotFound):
        await runs.send("tt", 1)


async def test_of_a_send_and_a_dispose_at_once_either_way_is_whole(runs: Runs) -> None:
    async def send(token: str) -> Sent | HeadwaterError:
        try:
            return await runs.send(token, 1)
        except HookNotFound as error:
            return error

    for i in range(10):
        run, token = f"r{i}", f"t{i}"
        await started(runs, run, HookCreated(call=1, token=token))
        both = [go_on(runs, run, HookDisposed(call=1)), send(token)]
        await asyncio.gather(*(both if i % 2 else both[::-1]))
        kinds = [event.type async for event in runs.events(run)][3:]
        assert kinds in (["hook_received", "hook_disposed"], ["hook_disposed"])


async def test_a_send_follows_a_token_that_moves_between_look_up_and_append(
    runs: Runs, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(runs, "r", HOOK)
    keys = log.backend.keys
    looked = 0

    async def moving(*args: object) -> object:
        nonlocal looked
        found = await keys(*args)  # type: ignore[arg-type]
        looked += 1
        if looked == 1:
            await go_on(runs, "r", HookDisposed(call=1))
            await started(runs, "next", HOOK)
        return found

    monkeypatch.setattr(log.backend, "keys", moving)
    sent = await runs.send("t", 1)
    assert (sent.run, looked) == ("next", 2)
    assert (await payloads(runs), await payloads(runs, "next")) == ([], [1])

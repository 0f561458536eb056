"""One program, on a log of its own and over a server: the same client, told apart by the address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import hatch_build
from headwater import Client
from headwater.errors import (
    AccessRefused,
    EventIdReused,
    HookNotFound,
    IdempotencyKeyReused,
    LogUnavailable,
    NotSupported,
    RunCancelledError,
    RunFinished,
    RunIdReused,
    RunNotFound,
    RunNotHeld,
)
from headwater.log.log import Log
from headwater.server.access.keyring import Keyring
from headwater.server.options import ServerOptions
from tests.integration.server.listening import serving
from tests.integration.server.shop import app, approve, fulfil


@pytest.fixture(params=["embedded", "http"])
async def hw(request: pytest.FixtureRequest, memory: Log) -> AsyncIterator[Client]:
    if request.param == "embedded":
        async with app.connect(log=memory, worker=True) as client:
            yield client
    else:
        async with serving(app, memory, worker=True) as place, app.connect(place.address) as client:
            yield client


async def test_the_same_program_does_the_same(hw: Client) -> None:
    run = await hw.start(fulfil, 7, id="order/7", attributes={"shop": "north"})
    assert (run.id, run.new) == ("order/7", True)
    assert await run.result() == "charged 7"
    assert not (await hw.start(fulfil, 7, id="order/7")).new
    state = await run.state()
    assert (state.status, state.input, state.attributes["shop"]) == ("completed", {"order": 7}, "north")
    assert (await hw.get("order/7", version=1)).status == "pending"
    kinds = [recorded.type async for recorded in hw.history("order/7")]
    assert (kinds[0], kinds[-1], len(kinds)) == ("run_created", "run_completed", state.version)
    first = await anext(hw.history("order/7"))
    assert (await hw.get("order/7", until=first.recorded_at)).version == 1
    many = await hw.start_all({f"m-{n}": fulfil.bind(n, express=True) for n in range(5)})
    assert await asyncio.gather(*[one.result() for one in many]) == [f"charged {n}" for n in range(5)]
    page = await hw.list(workflow=fulfil, status="completed", limit=4)
    rest = await hw.list(workflow=fulfil, before=page[-1].place, limit=10)
    assert {summary.run for summary in [*page, *rest]} == {"order/7", *(one.id for one in many)}
    assert len(page) == 4


async def test_hooks_cancel_and_results(hw: Client) -> None:
    run = await hw.start(approve, "t-1", id="a-1")
    with pytest.raises(TimeoutError):
        await run.result(timeout=0.3)
    async with asyncio.timeout(20):
        while not (await run.state()).open_tokens:
            pass
    for _ in range(2):
        await hw.send("t-1", {"yes": 1}, key="mail-7")
    assert await run.result() == {"yes": 1}
    other = await hw.start(approve, "t-2", id="a-2")
    await hw.cancel("a-2", "not wanted")
    await hw.cancel("a-2")
    with pytest.raises(RunCancelledError, match="not wanted"):
        await other.result()
    with pytest.raises((EventIdReused, IdempotencyKeyReused)):
        await hw.send("t-1", {"yes": 2}, key="mail-7")


async def test_errors_are_what_they_are(hw: Client) -> None:
    with pytest.raises(ValueError, match="order -1 is below zero"):
        await (await hw.start(fulfil, -1, id="r")).result()
    with pytest.raises(RunIdReused) as reused:
        await hw.start(fulfil, 2, id="r")
    assert reused.value.run == "r"
    with pytest.raises(RunNotFound) as missing:
        await hw.get("nobody")
    assert missing.value.run == "nobody"
    with pytest.raises(RunFinished):
        await hw.cancel("r")
    with pytest.raises(HookNotFound):
        await hw.send("nothing", 1)
    waiting = await hw.start(approve, id="w")
    with pytest.raises(RunNotHeld):
        await hw.resume(waiting.id)


async def test_a_key_says_whose_client_it_is(memory: Log) -> None:
    keyring = Keyring(memory)
    await keyring.create_tenant("north")
    _, key = await keyring.create_key("k", "north", ["read", "write"])
    async with serving(app, memory, ServerOptions(require_key=True), worker=True) as place:
        async with app.connect(place.address) as nobody:
            with pytest.raises(AccessRefused):
                await nobody.list()
        async with app.connect(place.address, key=key) as north:
            assert await (await north.start(fulfil, 1)).result() == "charged 1"
            assert [summary.tenant for summary in await north.list()] == ["north"]


async def test_what_only_a_log_has_is_said_so(memory: Log) -> None:
    async with serving(app, memory) as place, app.connect(place.address) as hw:
        for what in ("log", "runs", "engine"):
            with pytest.raises(NotSupported, match=what):
                getattr(hw, what)
    with pytest.raises(NotSupported):
        app.connect(place.address, worker=True)


async def test_a_server_that_is_away_is_waited_for(memory: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(app, memory, worker=True) as place:
        address = place.address
    monkeypatch.setattr("headwater.client.remote.PATIENCE", 0.3)
    async with app.connect(address) as hw:
        with pytest.raises(LogUnavailable):
            await hw.list()
    monkeypatch.setattr("headwater.client.remote.PATIENCE", 20.0)
    async with app.connect(address) as hw:
        asked = asyncio.create_task(hw.start(fulfil, 1, id="late"))
        await asyncio.sleep(0)
        port = int(address.rpartition(":")[2])
        async with serving(app, memory, worker=True, port=port):
            assert await (await asked).result() == "charged 1"


@pytest.mark.parametrize("over", ["log", "server"])
async def test_without_a_loop(memory: Log, over: str, tmp_path: Path) -> None:
    def program(address: str) -> None:
        with app.connect_sync(address) as hw:
            run = hw.start(fulfil, 3, id="s-1")
            assert run.result() == "charged 3"
            assert next(hw.history("s-1")).type == "run_created"
            assert [one.result() for one in hw.start_all({"s-2": fulfil.bind(4)})] == ["charged 4"]
            with pytest.raises(RunNotFound):
                hw.get("nobody")

    if over == "log":
        await asyncio.to_thread(program, f"sqlite:///{tmp_path}/log.db")
    else:
        async with serving(app, memory, worker=True) as place:
            await asyncio.to_thread(program, place.address)


def test_the_client_without_a_loop_is_made_from_the_other() -> None:
    assert hatch_build.MADE.read_text() == hatch_build.made(), "run `python hatch_build.py`"

"""Projections and pipelines over HTTP, and a domain's own routes, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter

from headwater import Headwater
from headwater.app.domain import Domain, Serving
from headwater.log.log import Log
from tests.integration.pipelines.accounts import Paid, Pay, accounts
from tests.integration.server.listening import Place, events_of, serving

API = "/api/v1"


def banking() -> Headwater:
    def routes(serving: Serving) -> APIRouter:
        router = APIRouter()
        reads = serving.allow("read")

        @router.get("/greeting")
        async def greeting(tenant: str = reads) -> dict[str, str]:
            return {"hello": tenant}

        return router

    app = Headwater("bank")
    app.include(Domain(name="banking", pipelines=[accounts()], routes=routes))
    return app


@pytest.fixture
async def bank(log: Log) -> AsyncIterator[Place]:
    async with serving(banking(), log, worker=True) as place:
        service = accounts().on(log)
        for n in range(6):
            await service.handle(f"a{n % 2}", Pay(cents=n), key=f"k{n}")
        yield place


async def caught_up(place: Place, name: str) -> dict[str, object]:
    async with asyncio.timeout(30):
        while True:
            answer = await place.http.get(f"{API}/projections/{name}")
            shown: dict[str, object] = answer.json()
            if answer.status_code == 200 and shown["lag"] == 0 and shown["building"] is None:
                return shown
            await asyncio.sleep(0.05)


async def test_projections_are_looked_at_and_asked(bank: Place) -> None:
    for name in ("accounts", "turnover"):
        assert (await caught_up(bank, name))["status"] == "current"
    listed = (await bank.http.get(f"{API}/projections")).json()["projections"]
    assert [one["name"] for one in listed] == ["accounts", "turnover"]
    state = (await bank.http.get(f"{API}/projections/accounts/states/account%2Fa1")).json()
    assert state["state"] == {"cents": 1 + 3 + 5}
    assert (await bank.http.get(f"{API}/projections/accounts/states/nobody")).status_code == 404
    for verb, paused in (("pause", True), ("resume", False)):
        assert (await bank.http.post(f"{API}/projections/accounts/{verb}")).json() == {"changed": True}
        assert (await bank.http.get(f"{API}/projections/accounts")).json()["paused"] is paused
    assert (await bank.http.post(f"{API}/projections/accounts/redrive")).json() == {"asked": 0}
    for path in ("", "/pause", "/rebuild"):
        answer = await bank.http.request("POST" if path else "GET", f"{API}/projections/nothing{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "projection_unknown")


async def test_a_rebuild_is_asked_for_and_seen_to_its_end(bank: Place, log: Log) -> None:
    await caught_up(bank, "accounts")
    accept = {"accept": "text/event-stream"}
    async with bank.http.stream("GET", f"{API}/projections/accounts", headers=accept) as answer:
        seen = events_of(answer)
        assert (await anext(seen))["status"] == "current"
        assert (await bank.http.post(f"{API}/projections/accounts/rebuild")).json() == {"asked": 1}
    await caught_up(bank, "accounts")
    [live] = await bank.server.app.projections["accounts"].store(log).checkpoints("accounts")
    assert live.generation == 2
    one = await bank.http.post(f"{API}/projections/turnover/rebuild", params={"one": "all"})
    assert one.json() == {"asked": 1}
    assert (await bank.http.get(f"{API}/projections/turnover/states/all")).json()["state"] == {"cents": 15}


async def test_pipelines_are_shown_with_their_aggregates(bank: Place) -> None:
    await caught_up(bank, "accounts")
    [shown] = (await bank.http.get(f"{API}/pipelines")).json()["pipelines"]
    assert (shown["name"], shown["aggregate_type"], shown["commands"]) == (
        "accounts",
        "account",
        ["Pay", "Draw"],
    )
    whole = (await bank.http.get(f"{API}/pipelines/accounts")).json()
    assert whole["progress"]["accounts"]["lag"] == 0
    path = f"{API}/pipelines/accounts/aggregates/a1"
    assert (await bank.http.get(path)).json() == {"aggregate": "a1", "version": 3, "state": {"cents": 9}}
    assert (await bank.http.get(path, params={"version": 1})).json()["state"] == {"cents": 1}
    missing = await bank.http.get(f"{API}/pipelines/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "pipeline_unknown")


async def test_a_domain_brings_its_own_routes(bank: Place) -> None:
    assert (await bank.http.get(f"{API}/banking/greeting")).json() == {"hello": "default"}
    assert Paid in bank.server.app.events

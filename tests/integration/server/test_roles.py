"""A server that logs in with the role for servers, which sees one tenant at a time; its worker has the other role."""

from __future__ import annotations

from headwater.log.open import open_log
from headwater.server.application import server_registry
from headwater.server.options import ServerOptions
from headwater.worker.start import start
from tests.integration.server.listening import events_of, serving
from tests.integration.server.shop import app
from tests.servers.postgres import Database


async def test_a_server_needs_no_more_than_the_servers_role(postgres_database: Database) -> None:
    async with (
        open_log(postgres_database.worker_url, registry=server_registry(app)) as log,
        open_log(postgres_database.server_url, registry=server_registry(app)) as restricted,
    ):
        worker = await start(app, log)
        try:
            async with serving(app, restricted) as probe:
                await probe.server.keyring.create_tenant("north")
                _, key = await probe.server.keyring.create_key("k", "north", ["read", "write"])
            north = {"authorization": f"Bearer {key}"}
            async with serving(app, restricted, ServerOptions(require_key=True)) as place:
                asked = {"workflow": "fulfil", "input": {"order": 7}, "id": "r-1"}
                made = await place.http.post("/api/v1/runs", json=asked, headers=north)
                assert made.status_code == 201, made.text
                result = (await place.http.get("/api/v1/runs/r-1/result", headers=north)).json()
                assert result["output"] == "charged 7"
                listed = (await place.http.get("/api/v1/runs", headers=north)).json()["runs"]
                assert [run["tenant"] for run in listed] == ["north"]
                accept = north | {"accept": "text/event-stream"}
                async with place.http.stream("GET", "/api/v1/log", headers=accept) as answer:
                    async for event in events_of(answer):
                        assert event["tenant"] == "north"
                        if event["type"] == "run_completed":
                            break
                assert (await place.http.get("/readyz")).status_code == 200
        finally:
            await worker.stop()

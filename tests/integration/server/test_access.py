"""Who is let in: every route is tried without a key, with another tenant's, and with too small a scope."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest

from headwater.app.domain import Scope
from headwater.errors import SettingRefused
from headwater.log.log import Log
from headwater.server.access.events import SYSTEM
from headwater.server.access.keyring import FRESH, Keyring
from headwater.server.application import create_api
from headwater.server.options import ServerOptions
from headwater.server.serving import Server
from tests.integration.server.listening import serving
from tests.integration.server.shop import app

KEYED = ServerOptions(require_key=True)
OPEN = {"/healthz", "/readyz", "/webhooks/{tenant}/{token}"}
"""What asks for no key: probes that tell nothing, and the door that has its own check (see `test_webhooks`)."""


async def bearer(keyring: Keyring, tenant: str, *scopes: Scope) -> dict[str, str]:
    _, text = await keyring.create_key("test", tenant, scopes)
    return {"authorization": f"Bearer {text}"}


def guarded(server: Server) -> Iterator[tuple[str, str, str]]:
    """Every route: its method, its path, and the scope that its gate wants; one without a gate is a defect."""
    found = 0
    for path, methods in create_api(server).openapi()["paths"].items():
        for method, told in methods.items():
            if path not in OPEN:
                [gate] = told.get("security") or pytest.fail(f"{method} {path} has no gate")
                [scope] = gate["key"]
                found += 1
                yield method.upper(), path, scope
    assert found > 20


async def tried(http: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    filled = path.format(run="r-1", token="t", event_id="0" * 32, type="run", id="r-1", name="n", key="k")
    body = BODIES.get(path) if method == "POST" else None
    answer = await http.request(method, filled, headers=headers, json=body, params=QUERIES.get(path))
    assert answer.status_code < 500 or path == "/workers/metrics", answer.text
    return answer


BODIES: dict[str, Any] = {
    "/api/v1/runs": {"workflow": "approve", "id": "r-1"},
    "/api/v1/runs/batch": {"runs": [{"workflow": "approve", "id": "r-1"}]},
    "/api/v1/hooks/{token}": {"payload": 1},
    "/api/v1/tenants": {"tenant": "other"},
    "/api/v1/keys": {"name": "more"},
}
QUERIES: dict[str, Any] = {"/api/v1/runs/{run}/result": {"timeout": 0}}


@pytest.fixture
async def keyring(memory: Log) -> Keyring:
    keyring = Keyring(memory)
    await keyring.create_tenant("north")
    await keyring.create_tenant("south")
    return keyring


async def test_every_route_wants_a_key(memory: Log, keyring: Keyring) -> None:
    good = await bearer(keyring, "north", "read")
    id, revoked = await keyring.create_key("old", "north", ["read"])
    await keyring.revoke_key(id, "north")
    _, expired = await keyring.create_key(
        "older", "north", ["read"], datetime.now(UTC) - timedelta(seconds=1)
    )
    wrong = [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Basic aGVsbG86d29ybGQ="},
        {"authorization": good["authorization"][:-1] + ("A" if good["authorization"][-1] != "A" else "B")},
        {"authorization": f"Bearer {revoked}"},
        {"authorization": f"Bearer {expired}"},
    ]
    async with serving(app, memory, KEYED) as place:
        for method, path, _ in guarded(place.server):
            for headers in wrong:
                answer = await tried(place.http, method, path, headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "access_refused"), (path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_wants_its_scope(memory: Log, keyring: Keyring) -> None:
    of_scope = {scope: await bearer(keyring, "north", scope) for scope in get_args(Scope)}
    async with serving(app, memory, KEYED) as place:
        for method, path, wanted in guarded(place.server):
            for scope, headers in of_scope.items():
                answer = await tried(place.http, method, path, headers)
                refused = scope != wanted  # nobody of a tenant is an operator
                assert (answer.status_code == 403) is refused, (path, scope, answer.text)


async def test_every_route_keeps_tenants_apart(memory: Log, keyring: Keyring) -> None:
    """What north has, south cannot see, change or send to, by any route."""
    north, south = [await bearer(keyring, tenant, "read", "write", "admin") for tenant in ("north", "south")]
    async with serving(app, memory, KEYED, worker=True) as place:
        made = await place.http.post(
            "/api/v1/runs",
            json={
                "workflow": "approve",
                "id": "r-1",
                "input": {"token": "t"},
                "attributes": {"mark": "secret-of-north"},
            },
            headers=north,
        )
        assert made.status_code == 201
        while not (await place.http.get("/api/v1/hooks", headers=north)).json()["hooks"]:
            pass
        [event] = (await place.http.get("/api/v1/log", params={"limit": 1}, headers=north)).json()["events"]
        before = await memory.head()
        for method, path, wanted in guarded(place.server):
            if wanted == "operator" or path in {"/api/v1/runs/batch", "/api/v1/keys"}:
                continue
            if (method, path) == ("POST", "/api/v1/runs"):
                continue  # the same id is another run for another tenant, as the next test shows
            for more in ({}, {"headwater-tenant": "north"}):
                answer = await tried(place.http, method, path, south | more)
                assert "secret-of-north" not in answer.text, path
                assert answer.status_code in {200, 404}, (path, answer.text)
                if "{" in path:
                    assert answer.status_code == 404, (path, answer.text)
        one = await place.http.get(f"/api/v1/log/events/{event['event_id']}", headers=south)
        assert one.status_code == 404
        keys = (await place.http.get("/api/v1/keys", headers=south)).json()["keys"]
        assert {key["tenant"] for key in keys} == {"south"}
        theirs = (await place.http.get("/api/v1/keys", headers=north)).json()["keys"][0]["key"]
        assert (await place.http.post(f"/api/v1/keys/{theirs}/revoke", headers=south)).status_code == 404
        refused = await place.http.post("/api/v1/keys", json={"name": "x", "tenant": "north"}, headers=south)
        assert refused.status_code == 403
        assert (await memory.head()) == before


async def test_one_id_is_a_run_of_each_tenant(memory: Log, keyring: Keyring) -> None:
    north, south = [await bearer(keyring, tenant, "read", "write") for tenant in ("north", "south")]
    async with serving(app, memory, KEYED) as place:
        for headers, order in ((north, 1), (south, 2)):
            asked = {"workflow": "fulfil", "id": "r-1", "input": {"order": order}}
            assert (await place.http.post("/api/v1/runs", json=asked, headers=headers)).status_code == 201
        for headers, order in ((north, 1), (south, 2)):
            assert (await place.http.get("/api/v1/runs/r-1", headers=headers)).json()["input"] == {
                "order": order
            }


async def test_an_operator_acts_for_any_tenant_and_their_acts_are_events(
    memory: Log, keyring: Keyring
) -> None:
    operator = await bearer(keyring, SYSTEM, "read", "write", "admin")
    async with serving(app, memory, KEYED) as place:
        made = await place.http.post("/api/v1/tenants", json={"tenant": "west"}, headers=operator)
        assert made.status_code == 201
        for_west = operator | {"headwater-tenant": "west"}
        made = await place.http.post("/api/v1/keys", json={"name": "w", "scopes": ["read"]}, headers=for_west)
        west = {"authorization": f"Bearer {made.json()['text']}"}
        assert (await place.http.get("/api/v1/runs", headers=west)).status_code == 200
        assert (await place.http.get("/api/v1/workers", headers=operator)).status_code == 200
        events = (
            await place.http.get(
                "/api/v1/streams/access/keys", headers=operator | {"headwater-tenant": SYSTEM}
            )
        ).json()
        kinds = [(event["type"], event["actor"]) for event in events["events"]]
        assert kinds[-2:] == [("tenant_created", kinds[-1][1]), ("key_created", kinds[-1][1])]
        assert kinds[-1][1].startswith("key:")
        assert made.json()["text"] not in str(events)


async def test_a_key_is_made_once_for_a_request_and_its_use_is_noted(memory: Log, keyring: Keyring) -> None:
    admin = await bearer(keyring, "north", "admin") | {"idempotency-key": "k"}
    async with serving(app, memory, KEYED) as place:
        first, second = [
            await place.http.post("/api/v1/keys", json={"name": "n"}, headers=admin) for _ in range(2)
        ]
        assert first.status_code == 201
        assert (second.status_code, second.json()["code"]) == (409, "key_shown_once")
        text = first.json()["text"]
        assert (
            await place.http.get("/api/v1/runs", headers={"authorization": f"Bearer {text}"})
        ).status_code == 200
        listed = (await place.http.get("/api/v1/keys", headers=admin)).json()["keys"]
        [mine] = [key for key in listed if key["key"] == first.json()["key"]]
        assert mine["last_used_at"] is not None


async def test_a_key_that_another_process_revokes_is_refused_soon(memory: Log) -> None:
    now = 0.0
    here, elsewhere = Keyring(memory, lambda: now), Keyring(memory)
    id, text = await elsewhere.create_key("k", "default", ["read"])
    assert await here.find(text) is not None
    await elsewhere.revoke_key(id, None)
    now = FRESH
    assert await here.find(text) is None


async def test_acts_at_once_are_all_done(memory: Log) -> None:
    import asyncio

    rings = [Keyring(memory) for _ in range(4)]
    made = await asyncio.gather(
        *[ring.create_key(f"k{n}", "default", ["read"]) for n, ring in enumerate(rings * 5)]
    )
    assert {id for id, _ in made} == set((await rings[0].access()).keys)


async def test_loopback_needs_no_key_but_its_own_name(memory: Log) -> None:
    async with serving(app, memory) as place:
        assert (await place.http.get("/api/v1/runs")).status_code == 200
        assert (
            await place.http.get("/api/v1/runs", headers={"authorization": "Bearer hw_x_y"})
        ).status_code == 401
        for host in ("evil.example", "127.0.0.1.evil.example:80", "", "localhost.evil.example"):
            answer = await place.http.get("/api/v1/runs", headers={"host": host})
            assert (answer.status_code, answer.json()["code"]) == (421, "host_refused"), host
        for host in ("localhost", "localhost:1", "127.0.0.1:9", "[::1]:80", "LOCALHOST"):
            assert (await place.http.get("/api/v1/runs", headers={"host": host})).status_code == 200
        answer = await place.http.post(
            "/api/v1/runs", json={"workflow": "approve"}, headers={"origin": "https://evil.example"}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")


@pytest.mark.parametrize(
    "options", [ServerOptions(host="0.0.0.0"), ServerOptions(allowed_hosts=("shop.example",)), KEYED]
)
async def test_no_other_bind_without_a_key(memory: Log, options: ServerOptions) -> None:
    with pytest.raises(SettingRefused):
        async with serving(app, memory, options):
            pass


async def test_a_key_has_a_rate(memory: Log, keyring: Keyring) -> None:
    headers = await bearer(keyring, "north", "read")
    async with serving(app, memory, ServerOptions(require_key=True, rate=5)) as place:
        codes = [(await place.http.get("/api/v1/workflows", headers=headers)).status_code for _ in range(30)]
        assert codes[:10] == [200] * 10
        assert 429 in codes
        answer = await place.http.get("/api/v1/workflows", headers=headers)
        assert answer.status_code == 200 or int(answer.headers["retry-after"]) >= 1

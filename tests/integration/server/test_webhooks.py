"""The public door: what is signed well is taken once; what is not, is not, unless its token cannot be guessed."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from headwater.errors import SettingRefused
from headwater.log.log import Log
from headwater.server.options import ServerOptions
from headwater.server.webhooks import secret_of
from tests.integration.server.listening import Place, serving
from tests.integration.server.shop import app

OLD, NEW, OTHER = [f"whsec_{b64encode(bytes([n]) * 32).decode()}" for n in (1, 2, 3)]
SIGNED = ServerOptions(
    require_key=False, webhook_secrets=(("default", OLD), ("default", NEW), ("south", OTHER))
)
BODY = json.dumps({"paid": True})


def signed(secret: str, body: str = BODY, id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """The headers that the reference implementation of the standard would send."""
    at = at or datetime.now(UTC)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body),
        "content-type": "application/json",
    }


async def waiting(place: Place, token: str | None) -> tuple[str, str]:
    """A run that waits for a payload, and its token."""
    asked = {"workflow": "approve", "input": {"token": token}}
    run = (await place.http.post("/api/v1/runs", json=asked)).json()["run"]
    while not (found := (await place.http.get("/api/v1/hooks")).json()["hooks"]):
        pass
    return run, found[0]["token"]


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_a_signed_message_is_taken_once(memory: Log, secret: str) -> None:
    async with serving(app, memory, SIGNED, worker=True) as place:
        run, token = await waiting(place, "payment-7")
        path = f"/webhooks/default/{token}"
        first, second = [await place.http.post(path, content=BODY, headers=signed(secret)) for _ in range(2)]
        assert (first.status_code, first.json()["new"], second.json()["new"]) == (200, True, False)
        assert (await place.http.get(f"/api/v1/runs/{run}/result")).json()["output"] == {"paid": True}


async def test_what_is_not_signed_well_is_refused(memory: Log) -> None:
    async with serving(app, memory, SIGNED, worker=True) as place:
        _, token = await waiting(place, None)
        now = datetime.now(UTC)
        good = signed(NEW)
        wrong = [
            {"content-type": "application/json"},
            signed(OTHER),
            signed(NEW, body=BODY + " "),
            signed(NEW, at=now - timedelta(minutes=6)),
            signed(NEW, at=now + timedelta(minutes=6)),
            good | {"webhook-id": "msg_2"},
            good | {"webhook-signature": "v1,"},
            good | {"webhook-timestamp": "soon"},
        ]
        for headers in wrong:
            answer = await place.http.post(f"/webhooks/default/{token}", content=BODY, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "access_refused"), headers
        rotating = good | {"webhook-signature": f"v1,AAAA {good['webhook-signature']}"}
        taken = await place.http.post(f"/webhooks/default/{token}", content=BODY, headers=rotating)
        assert taken.status_code == 200


async def test_without_a_secret_only_a_token_that_cannot_be_guessed_is_enough(memory: Log) -> None:
    async with serving(app, memory, worker=True) as place:
        run, token = await waiting(place, None)
        refused = await place.http.post("/webhooks/default/payment-7", json={"paid": True})
        assert refused.status_code == 401
        elsewhere = await place.http.post(f"/webhooks/north/{token}", json={"paid": True})
        assert elsewhere.status_code == 404
        taken = await place.http.post(f"/webhooks/default/{token}", json={"paid": True})
        assert taken.status_code == 200
        assert (await place.http.get(f"/api/v1/runs/{run}/result")).json()["output"] == {"paid": True}


async def test_no_two_runs_of_one_id_make_the_same_token(memory: Log) -> None:
    """Who knows a run's id and the code does not know its token: it is chance, kept by the history."""
    from headwater.log.memory import MemoryBackend
    from headwater.server.application import server_registry

    tokens: set[str] = set()
    for _ in range(2):
        async with Log(MemoryBackend(), server_registry(app)) as log, serving(app, log, worker=True) as place:
            tokens.add((await waiting(place, None))[1])
    assert len(tokens) == 2


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", b64encode(b"x" * 32).decode()]
)
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingRefused):
        secret_of(text)

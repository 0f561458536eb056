"""`POST /webhooks/{tenant}/{token}`: the door for systems that hold no key.

It takes what is signed with one of the tenant's webhook secrets. Where the tenant has none, it takes what is sent to a
token that nobody can guess: one that the workflow left to Headwater to make. A token that a person has chosen is never
enough by itself.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from headwater.errors import AccessRefused
from headwater.events.names import check_id
from headwater.server.body import PlainRoute, answer
from headwater.server.serving import Server
from headwater.server.webhooks import secret_of, verify
from headwater.server.wire import PayloadTaken


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=PlainRoute)
    secrets: dict[str, list[bytes]] = {}
    for tenant, text in server.options.webhook_secrets:
        secrets.setdefault(tenant, []).append(secret_of(text))

    @router.post("/{tenant:id}/{token:id}", response_model=PayloadTaken, openapi_extra=_BODY)
    async def receive(request: Request, tenant: str, token: str) -> Response:
        """Take a payload for a hook: signed as Standard Webhooks has it, or sent to a token that cannot be guessed."""
        check_id("tenant", tenant)
        key = request.headers.get("webhook-id") or request.headers.get("idempotency-key")
        if own := secrets.get(tenant):
            key = verify(request.headers, await request.body(), own, time.time())
        elif not _unguessable(token):
            why = f"Tenant {tenant!r} has no webhook secret, and this token can be guessed."
            raise AccessRefused(401, f"{why} Set a secret, or send with a key.")
        payload: Any = await request.json()
        taken = await server.runs.send(token, payload, tenant, key=key, actor="webhook")
        return answer({"run": taken.run, "call": taken.call, "new": taken.new})

    return router


_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}


def _unguessable(token: str) -> bool:
    """Whether it has the form of those that Headwater makes: a random UUID."""
    try:
        return str(UUID(token)) == token
    except ValueError:
        return False

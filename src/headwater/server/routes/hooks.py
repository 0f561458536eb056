"""`/api/v1/hooks`: the hooks that are open, and payloads for them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from headwater.errors import EventIdReused, IdempotencyKeyReused
from headwater.runs.rows import HookPlace, token_key
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer
from headwater.server.routes.parameters import IdempotencyKey, Limit
from headwater.server.serving import Server
from headwater.server.wire import Hooks, PayloadSent, PayloadTaken


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/hooks", tags=["hooks"], route_class=PlainRoute)
    reads, writes = server.gate.allow("read"), server.gate.allow_who("write")

    @router.get("", response_model=Hooks)
    async def list_hooks(tenant: str = reads, prefix: str = "", limit: Limit = 100) -> Response:
        """Open hooks by token: those whose tokens begin with `prefix`."""
        held = await server.log.backend.keys(tenant, token_key(prefix), limit)
        found = [(row.key.removeprefix(token_key("")), HookPlace.parse(row.holder)) for row in held]
        return answer({"hooks": [{"token": t, "run": place.run, "call": place.call} for t, place in found]})

    @router.post("/{token:id}", response_model=PayloadTaken)
    async def send(
        token: str,
        sent: PayloadSent,
        who: Who = writes,
        key: IdempotencyKey = None,
    ) -> Response:
        """Send a payload to the hook with this token. With an Idempotency-Key, sending again changes nothing."""
        try:
            taken = await server.runs.send(
                token, sent.payload, who.tenant, run=sent.run, key=key, actor=who.actor
            )
        except EventIdReused:
            if key is None:
                raise
            raise IdempotencyKeyReused(key) from None
        return answer({"run": taken.run, "call": taken.call, "new": taken.new})

    return router

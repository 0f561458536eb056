"""`/api/v1/tenants` and `/api/v1/keys`: who may come in. Every change is an event of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response

from headwater.errors import AccessRefused
from headwater.runs.rows import DEFAULT_TENANT
from headwater.server.access.gate import Who
from headwater.server.access.keys import Key
from headwater.server.body import PlainRoute, answer
from headwater.server.routes.parameters import IdempotencyKey
from headwater.server.serving import Server
from headwater.server.wire import Done, KeyMade, Keys, NewKeyAsked, NewTenantAsked, Tenants


def routes(server: Server) -> APIRouter:
    router = APIRouter(tags=["access"], route_class=PlainRoute)
    keyring, gate = server.keyring, server.gate
    operates, administers = gate.allow_operator(), gate.allow_who("admin")

    @router.get("/tenants", response_model=Tenants)
    async def list_tenants(operator: Who = operates) -> Response:
        """The tenants that were created, and the one that is always there."""
        del operator
        created = {DEFAULT_TENANT: None, **(await keyring.access()).tenants}
        return answer({"tenants": [{"tenant": name, "created_at": at} for name, at in created.items()]})

    @router.post("/tenants", response_model=Done, status_code=201)
    async def create_tenant(
        asked: NewTenantAsked, operator: Who = operates, key: IdempotencyKey = None
    ) -> Response:
        """Create a tenant; again changes nothing."""
        del key
        return answer({"changed": await keyring.create_tenant(asked.tenant, operator.actor)}, 201)

    @router.get("/keys", response_model=Keys)
    async def list_keys(who: Who = administers) -> Response:
        """API keys: the tenant's, or all of them for an operator."""
        access, uses = await keyring.access(), await keyring.uses()
        return answer(
            {"keys": [key_json(key, uses) for key in access.of(None if who.operator else who.tenant)]}
        )

    @router.post("/keys", response_model=KeyMade, status_code=201)
    async def create_key(asked: NewKeyAsked, who: Who = administers, key: IdempotencyKey = None) -> Response:
        """Make an API key. Its text is shown this once."""
        tenant = asked.tenant or who.tenant
        if tenant != who.tenant and not who.operator:
            raise AccessRefused(403, "Only an operator's key makes keys of another tenant.")
        id, text = await keyring.create_key(
            asked.name, tenant, asked.scopes, asked.expires_at, actor=who.actor, request=key
        )
        return answer({"key": id, "text": text}, 201)

    @router.post("/keys/{id:id}/revoke", response_model=Done)
    async def revoke_key(id: str, who: Who = administers, key: IdempotencyKey = None) -> Response:
        """Revoke an API key; again changes nothing."""
        del key
        changed = await keyring.revoke_key(id, None if who.operator else who.tenant, who.actor)
        return answer({"changed": changed})

    return router


def key_json(key: Key, uses: dict[str, datetime]) -> dict[str, Any]:
    """A key as it may be shown."""
    return {
        "key": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": uses.get(key.id),
    }

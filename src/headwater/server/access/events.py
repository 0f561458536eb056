"""The administrative acts, as events of one stream. A key's secret is never in it, only a digest."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from headwater.app.domain import Scope
from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.events.registry import Registry

SYSTEM: Final = "headwater"
"""The tenant of what concerns all tenants. A key of it that may administer is an operator's."""
ACCESS: Final = Stream("access", "keys", SYSTEM)


class TenantCreated(Event):
    type: Literal["tenant_created"] = "tenant_created"
    tenant: str


class KeyCreated(Event):
    """`digest` is the SHA-256 of a secret of 256 random bits, in hexadecimal."""

    type: Literal["key_created"] = "key_created"
    key: str
    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    digest: str
    expires_at: datetime | None = None


class KeyRevoked(Event):
    type: Literal["key_revoked"] = "key_revoked"
    key: str


AccessEvent = TenantCreated | KeyCreated | KeyRevoked


def register_access_events(registry: Registry) -> Registry:
    """Make them known to a registry; again is once."""
    for model in (TenantCreated, KeyCreated, KeyRevoked):
        registry.add(model)
    return registry

"""The gate of every route: whose request it is, and whether they may.

The tenant comes from the key, and from nowhere else. On loopback, where no key is required, a request without one is
the operator's at this machine: they act for the tenant `default`, or the one that `Headwater-Tenant` names, as the
operator's keys do. A key that is shown is always judged.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final, NamedTuple, Protocol

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from headwater.app.domain import Scope
from headwater.errors import AccessRefused
from headwater.events.names import check_id
from headwater.runs.rows import DEFAULT_TENANT
from headwater.server.access.events import SYSTEM
from headwater.server.access.keys import Key
from headwater.server.options import ServerOptions

ALL: Final[tuple[Scope, ...]] = ("read", "write", "admin")
TENANT: Final = "headwater-tenant"
_BUCKETS: Final = 10_000


class Who(NamedTuple):
    """Whose request it is. An operator may act for every tenant."""

    tenant: str
    actor: str | None
    operator: bool
    key: str | None = None


class FindsKeys(Protocol):
    async def find(self, text: str) -> Key | None: ...


class Gate:
    """Lets requests in, or not."""

    def __init__(self, keys: FindsKeys, options: ServerOptions) -> None:
        self._keys, self._options = keys, options
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, scope: Scope) -> Any:
        """A dependency that lets through who may do this, and gives their tenant."""
        return _dependency(_TenantOf(self, scope), scope)

    def allow_who(self, scope: Scope) -> Any:
        """The same, and gives all that is known of them."""
        return _dependency(_Allowed(self, scope), scope)

    def allow_operator(self) -> Any:
        """A dependency that lets through an operator only."""
        return _dependency(_Operator(self, "admin"), "operator")

    async def who(self, request: Request, scope: Scope) -> Who:
        """Judge a request."""
        shown = request.headers.get("authorization")
        if shown is None:
            if self._options.require_key:
                raise AccessRefused(401, "Show an API key: `Authorization: Bearer hw_...`.")
            return Who(_acting_for(request, DEFAULT_TENANT), None, operator=True)
        kind, _, text = shown.partition(" ")
        key = await self._keys.find(text.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise AccessRefused(401, "This API key is not known, was revoked, or has expired.")
        self._take(key.id)
        if scope not in key.scopes:
            raise AccessRefused(
                403, f"This API key lacks the scope {scope!r}; it has: {', '.join(key.scopes)}."
            )
        tenant = _acting_for(request, DEFAULT_TENANT) if key.tenant == SYSTEM else key.tenant
        return Who(tenant, f"key:{key.id}", key.operator, key.id)

    def _take(self, key: str) -> None:
        """A token of the key's bucket, which fills at `rate` a second up to two seconds' worth."""
        rate, now = self._options.rate, time.monotonic()
        most = rate * 2
        tokens, at = self._buckets.pop(key, (most, now))
        tokens = min(most, tokens + (now - at) * rate)
        self._buckets[key] = (max(tokens - 1, 0.0), now)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise AccessRefused(
                429, f"This API key may send {rate:g} requests a second.", retry_after=(1 - tokens) / rate
            )


def _acting_for(request: Request, otherwise: str) -> str:
    return check_id("tenant", request.headers.get(TENANT, otherwise))


class _Allowed(SecurityBase):
    """A gate with its scope; the OpenAPI description tells of both."""

    model = HTTPBearer(description="An API key; none is needed on loopback, unless the server was told so.")
    scheme_name = "key"

    def __init__(self, gate: Gate, scope: Scope) -> None:
        self._gate = gate
        self._scope: Scope = scope

    async def __call__(self, request: Request) -> Any:
        return await self._gate.who(request, self._scope)


class _TenantOf(_Allowed):
    async def __call__(self, request: Request) -> str:
        return (await self._gate.who(request, self._scope)).tenant


class _Operator(_Allowed):
    async def __call__(self, request: Request) -> Who:
        found = await self._gate.who(request, self._scope)
        if not found.operator:
            raise AccessRefused(
                403, f"Only an operator's key may do this: one made with `--tenant {SYSTEM}`."
            )
        return found


def _dependency(allowed: _Allowed, scope: str) -> Any:
    return Security(allowed, scopes=[scope])

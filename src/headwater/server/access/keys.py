"""A key as text, and what is kept of it.

`hw_<id>_<secret>`: the id finds the key, the secret proves it. The secret is 256 random bits, so a plain SHA-256 of it
cannot be searched for; no slow hash is needed, which would be a gift to whoever floods the server with wrong keys.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple, assert_never

from headwater.app.domain import Scope
from headwater.errors import UnknownEventType
from headwater.events.envelope import Recorded
from headwater.log.snapshots import Fold
from headwater.server.access.events import SYSTEM, AccessEvent, KeyCreated, KeyRevoked, TenantCreated

_KEY: Final = re.compile(r"hw_([0-9a-z]{16})_([0-9A-Za-z_-]{43})")


class NewKey(NamedTuple):
    """A key that was just made: its text is shown once, and kept nowhere."""

    id: str
    text: str
    digest: str


def make_key(id: str | None = None) -> NewKey:
    """A new key."""
    id = id or secrets.token_hex(8)
    secret = secrets.token_urlsafe(32)
    return NewKey(id, f"hw_{id}_{secret}", digest_of(secret))


def parse_key(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key's text."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Key:
    """A key, without its secret."""

    id: str
    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def proves(self, secret: str) -> bool:
        """Whether this is its secret; takes as long for a wrong one."""
        return hmac.compare_digest(self.digest, digest_of(secret))

    def valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def operator(self) -> bool:
        """Whether it may make tenants, and act for any."""
        return self.tenant == SYSTEM and "admin" in self.scopes


@dataclass(frozen=True)
class Access:
    """All tenants that were declared, with when, and all keys."""

    tenants: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    keys: Mapping[str, Key] = field(default_factory=dict[str, Key])

    def of(self, tenant: str | None) -> Sequence[Key]:
        """The keys of a tenant, or all, in the order in which they were made."""
        return [key for key in self.keys.values() if tenant in {None, key.tenant}]


def _apply(access: Access, recorded: Recorded) -> Access:
    event = recorded.event
    if not isinstance(event, AccessEvent):
        raise UnknownEventType(recorded.type)
    return apply(access, event, recorded.recorded_at)


def apply(access: Access, event: AccessEvent, at: datetime) -> Access:
    """Who may do what after an administrative act."""
    match event:
        case TenantCreated():
            return replace(
                access, tenants={**access.tenants, event.tenant: access.tenants.get(event.tenant, at)}
            )
        case KeyCreated():
            made = Key(event.key, event.name, event.tenant, event.scopes, event.digest, at, event.expires_at)
            return replace(access, keys={**access.keys, made.id: made})
        case KeyRevoked():
            key = access.keys.get(event.key)
            if key is None or key.revoked_at is not None:
                return access
            return replace(access, keys={**access.keys, key.id: replace(key, revoked_at=at)})
        case _:
            assert_never(event)


ACCESS_FOLD: Final = Fold("access", Access, Access(), _apply)

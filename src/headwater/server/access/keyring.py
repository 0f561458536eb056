"""The keys of a log, as a process knows them: made, revoked, looked up.

Promise. An act is in the log before it is answered. A key that was made or revoked elsewhere is so here within
`FRESH` seconds; one that is not known is looked for at once, at most so often that a flood of wrong keys costs a few
reads a second. While the log cannot be reached, nobody new is let in: what cannot be looked up is not known.

Two acts at once: each is appended at the version that it was decided on, and decided again if that has moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import orjson

from headwater.app.domain import Scope
from headwater.errors import KeyShownOnce, KeyUnknown, TenantUnknown, WrongVersion
from headwater.events.envelope import NewEvent
from headwater.events.ids import derived_id
from headwater.events.names import check_id
from headwater.log.log import Log
from headwater.log.side import PutEntry
from headwater.log.snapshots import Folder
from headwater.log.write import Write
from headwater.runs.rows import DEFAULT_TENANT
from headwater.server.access.events import (
    ACCESS,
    SYSTEM,
    AccessEvent,
    KeyCreated,
    KeyRevoked,
    TenantCreated,
    register_access_events,
)
from headwater.server.access.keys import ACCESS_FOLD, Access, Key, make_key, parse_key

FRESH: Final = 2.0
_AGAIN: Final = 0.2
_USED: Final = 60.0
_USES: Final = "key_uses"


class Keyring:
    """Tenants and keys of one log."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        register_access_events(log.registry)
        self._log, self._clock = log, clock
        self._folder = Folder(log)
        self._access = Access()
        self._version = 0
        self._read_at: float | None = None
        self._used: dict[str, float] = {}
        self._reading = asyncio.Lock()

    # Looking

    async def access(self) -> Access:
        """All of it, as it is now."""
        return await self._refreshed(0)

    async def find(self, text: str) -> Key | None:
        """The key that this is the text of, if it is valid."""
        parsed = parse_key(text)
        if parsed is None:
            return None
        id, secret = parsed
        key = (await self._refreshed(FRESH)).keys.get(id)
        if key is None:
            key = (await self._refreshed(_AGAIN)).keys.get(id)
        if key is None or not key.proves(secret) or not key.valid(datetime.now(UTC)):
            return None
        self._note_use(key)
        return key

    async def uses(self) -> dict[str, datetime]:
        """When each key was last used, to the minute."""
        rows = await self._log.backend.entries(SYSTEM, _USES, limit=10_000)
        return {row.key: datetime.fromisoformat(orjson.loads(row.data)) for row in rows}

    async def _refreshed(self, age: float) -> Access:
        """What is known, if it is not older than `age` seconds; else read anew."""
        async with self._reading:
            if self._read_at is None or self._clock() - self._read_at >= age:
                began = self._clock()
                if await self._log.version(ACCESS) != self._version:
                    self._access, self._version = await self._folder.state(ACCESS, ACCESS_FOLD)
                self._read_at = began
        return self._access

    def _note_use(self, key: Key) -> None:
        now = self._clock()
        if now - self._used.get(key.id, -_USED) < _USED:
            return
        self._used[key.id] = now
        data = orjson.dumps(datetime.now(UTC).isoformat(timespec="seconds"))
        use = Write(ACCESS, rows=[PutEntry(_USES, key.id, key.tenant, "used", data)])
        self._log.post(use, awaited=False)  # nobody waits for it, and losing it costs a minute

    # Acting

    async def create_tenant(self, tenant: str, actor: str | None = None) -> bool:
        """Declare a tenant; whether it is new."""
        check_id("tenant", tenant)

        def decide(access: Access) -> AccessEvent | None:
            return None if tenant in known_tenants(access) else TenantCreated(tenant=tenant)

        return await self._act(decide, actor)

    async def create_key(
        self,
        name: str,
        tenant: str,
        scopes: Sequence[Scope],
        expires_at: datetime | None = None,
        *,
        actor: str | None = None,
        request: str | None = None,
    ) -> tuple[str, str]:
        """Make a key: its id, and its text, which is shown this once. `request` makes one key, however often asked."""
        check_id("name of the key", name)
        made = make_key(derived_id(ACCESS, f"key/{tenant}/{request}").hex[:16] if request else None)

        def decide(access: Access) -> AccessEvent:
            if tenant not in known_tenants(access) | {SYSTEM}:
                raise TenantUnknown(tenant)
            if made.id in access.keys:
                raise KeyShownOnce(made.id)
            return KeyCreated(
                key=made.id,
                name=name,
                tenant=tenant,
                scopes=tuple(dict.fromkeys(scopes)),
                digest=made.digest,
                expires_at=expires_at,
            )

        await self._act(decide, actor)
        return made.id, made.text

    async def revoke_key(self, key: str, tenant: str | None, actor: str | None = None) -> bool:
        """Revoke a key, of this tenant if one is given; whether it was valid till now."""

        def decide(access: Access) -> AccessEvent | None:
            there = access.keys.get(key)
            if there is None or tenant not in {None, there.tenant}:
                raise KeyUnknown(key)
            return KeyRevoked(key=key) if there.revoked_at is None else None

        return await self._act(decide, actor)

    async def _act(self, decide: Callable[[Access], AccessEvent | None], actor: str | None) -> bool:
        while True:
            access = await self._refreshed(0)
            event = decide(access)
            if event is None:
                return False
            with suppress(WrongVersion):  # somebody else has acted: decide anew
                await self._log.append(
                    Write(ACCESS, [NewEvent(event=event, actor=actor)], expect=self._version)
                )
                self._read_at = None
                return True


def known_tenants(access: Access) -> set[str]:
    """The tenants that keys can be made for."""
    return {DEFAULT_TENANT, *access.tenants}

"""The commands of keys and tenants."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.app.domain import Scope
from headwater.cli.output import plain, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.cli.show import parse_time
from headwater.runs.rows import DEFAULT_TENANT

if TYPE_CHECKING:
    from headwater.server.access.keyring import Keyring
    from headwater.server.access.keys import Key

keys = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)
tenants = typer.Typer(
    help="Create tenants, for which keys can be made.", no_args_is_help=True, rich_markup_mode=None
)

_ACTOR = "cli"
_SPAN = re.compile(r"(\d+)(h|d)")


class ScopeName(StrEnum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Of one tenant.", show_default=False)
]


@keys.command("create")
def create_key(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    tenant: Annotated[
        str,
        typer.Option("--tenant", metavar="NAME", help="Whose it is; `headwater` with admin: an operator's."),
    ] = DEFAULT_TENANT,
    scope: Annotated[
        list[ScopeName] | None,
        typer.Option("--scope", help="May be repeated. Default: read, write.", show_default=False),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME|SPAN", help="A time, or 90d, or 12h.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make an API key, and print it. It is shown this once: only a digest of it is kept."""
    session = Session.of(ctx, url, as_json)
    scopes: list[Scope] = [one.value for one in scope or (ScopeName.READ, ScopeName.WRITE)]
    until = None if expires is None else _until(expires)

    async def create() -> tuple[str, str]:
        async with _keyring(session, create=True) as keyring:
            return await keyring.create_key(name, tenant, scopes, until, actor=_ACTOR)

    id, text = run(create())
    if session.as_json:
        say_json({"key": id, "text": text})
    else:
        say(text)


@keys.command("list")
def list_keys(ctx: typer.Context, *, tenant: Tenant = None, url: Url = None, as_json: Json = False) -> None:
    """Print the keys, and when they were last used."""
    session = Session.of(ctx, url, as_json)

    async def read() -> tuple[list[Key], dict[str, datetime]]:
        async with _keyring(session) as keyring:
            return list((await keyring.access()).of(tenant)), await keyring.uses()

    found, uses = run(read())
    for key in found:
        state = "valid" if key.valid(datetime.now(UTC)) else "revoked" if key.revoked_at else "expired"
        used = uses.get(key.id)
        if session.as_json:
            say_json(
                {
                    "key": key.id,
                    "name": key.name,
                    "tenant": key.tenant,
                    "scopes": list(key.scopes),
                    "state": state,
                    "created_at": key.created_at.isoformat(),
                    "expires_at": key.expires_at.isoformat() if key.expires_at else None,
                    "last_used_at": used.isoformat() if used else None,
                }
            )
        else:
            last = f"last used {used:%Y-%m-%d %H:%M}" if used else "never used"
            say(plain(f"{key.id}  {state:<7}  {key.tenant}  {','.join(key.scopes)}  {key.name}  {last}"))


@keys.command("revoke")
def revoke_key(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `headwater key list` shows it.")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Revoke a key. Servers refuse it within two seconds."""
    session = Session.of(ctx, url, as_json)

    async def revoke() -> bool:
        async with _keyring(session) as keyring:
            return await keyring.revoke_key(key, None, _ACTOR)

    changed = run(revoke())
    if session.as_json:
        say_json({"key": key, "changed": changed})
    else:
        say(plain(f"{key} is revoked" if changed else f"{key} was revoked before"))


@tenants.command("create")
def create_tenant(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Create a tenant. Again changes nothing."""
    session = Session.of(ctx, url, as_json)

    async def create() -> bool:
        async with _keyring(session, create=True) as keyring:
            return await keyring.create_tenant(tenant, _ACTOR)

    changed = run(create())
    if session.as_json:
        say_json({"tenant": tenant, "changed": changed})
    else:
        say(plain(f"{tenant} is created" if changed else f"{tenant} was there before"))


@tenants.command("list")
def list_tenants(ctx: typer.Context, *, url: Url = None, as_json: Json = False) -> None:
    """Print the tenants."""
    session = Session.of(ctx, url, as_json)

    async def read() -> list[str]:
        from headwater.server.access.keyring import known_tenants

        async with _keyring(session) as keyring:
            return sorted(known_tenants(await keyring.access()))

    for tenant in run(read()):
        if session.as_json:
            say_json({"tenant": tenant})
        else:
            say(plain(tenant))


@asynccontextmanager
async def _keyring(session: Session, *, create: bool = False) -> AsyncGenerator[Keyring]:
    from headwater.server.access.keyring import Keyring

    async with session.opened(create=create) as log:
        yield Keyring(log)


def _until(text: str) -> datetime:
    span = _SPAN.fullmatch(text)
    if span is None:
        return parse_time(text)
    number = int(span[1])
    return datetime.now(UTC) + (timedelta(hours=number) if span[2] == "h" else timedelta(days=number))

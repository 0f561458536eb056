"""`headwater projection pause`, `resume`, `redrive`: what its worker is asked, and does at its next turn."""

from __future__ import annotations

import typer

from headwater.cli.output import plain, say, say_json
from headwater.cli.projection.arguments import App, Name, OneKey, OneTenant, store_of, unknown
from headwater.cli.session import Json, Session, Url, run
from headwater.projections.stores import GO_ON


def pause(ctx: typer.Context, name: Name, *, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Have a projection stand still. Its states stay readable, as they are."""
    _set(Session.of(ctx, url, as_json), name, app, paused=True)


def resume(
    ctx: typer.Context, name: Name, *, app: App = None, url: Url = None, as_json: Json = False
) -> None:
    """Have a paused projection go on where it stopped."""
    _set(Session.of(ctx, url, as_json), name, app, paused=False)


def redrive(
    ctx: typer.Context,
    name: Name,
    *,
    key: OneKey = None,
    tenant: OneTenant = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Have parked keys go on from the event that they failed at."""
    session = Session.of(ctx, url, as_json)

    async def ask() -> int:
        async with session.opened() as log:
            store = store_of(log, app, name)
            if not await store.checkpoints(name):
                raise unknown(name)
            return await store.request(name, GO_ON, tenant=tenant, key=key)

    asked = run(ask())
    if session.as_json:
        say_json({"projection": name, "asked": asked})
    else:
        say(f"{asked:,} parked keys of {plain(name)} go on" if asked else "nothing is parked there")


def _set(session: Session, name: str, app: str | None, *, paused: bool) -> None:
    async def ask() -> None:
        async with session.opened() as log:
            if not await store_of(log, app, name).pause(name, paused=paused):
                raise unknown(name)

    run(ask())
    if session.as_json:
        say_json({"projection": name, "paused": paused})
    else:
        say(f"{plain(name)} {'stands still' if paused else 'goes on'}")

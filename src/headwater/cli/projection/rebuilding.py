"""`headwater projection rebuild` and `verify`: the fold of the log, beside the states in use."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from headwater.cli.apps import Where, app_of
from headwater.cli.exits import Exit
from headwater.cli.output import OUT, plain, say, say_json
from headwater.cli.progress import progress
from headwater.cli.projection.arguments import Name, OneKey, OneTenant, declared, unknown
from headwater.cli.session import Json, Session, Url, run
from headwater.log.log import Log
from headwater.projections.projection import Projection
from headwater.projections.rebuild import Compared
from headwater.projections.rebuild import rebuild as build
from headwater.projections.rebuild import verify as compare
from headwater.projections.stores import FROM_START

_SHOWN = 20


def rebuild(
    ctx: typer.Context,
    where: Where,
    name: Name,
    *,
    key: OneKey = None,
    tenant: OneTenant = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Fold a projection anew, beside the states in use, and put the result into their place.

    With --key or --tenant only those states are folded anew, in place, by the projection's worker; this waits for it.
    """
    session = Session.of(ctx, url, as_json)
    projection = declared(app_of(where), name)
    if key is None and tenant is None:
        compared = run(_build(session, projection, keep=True))
        _say(session, name, compared, "rebuilt", "were not the fold of the log, and are now")
        return
    keys = run(_again(session, projection, tenant, key))
    if session.as_json:
        say_json({"projection": name, "keys": keys})
    else:
        say(f"{OUT.paint('ok', 'green')}: {keys:,} states of {plain(name)} are folded anew")


def verify(ctx: typer.Context, where: Where, name: Name, *, url: Url = None, as_json: Json = False) -> None:
    """Fold a projection anew and compare it with the states in use. Exit code 1 when they differ."""
    session = Session.of(ctx, url, as_json)
    projection = declared(app_of(where), name)
    compared = run(_build(session, projection, keep=False))
    _say(session, name, compared, "verified", "are not the fold of the log")
    raise typer.Exit(Exit.PROBLEM if compared.different else Exit.OK)


async def _build(session: Session, projection: Projection[Any], *, keep: bool) -> Compared:
    async with session.opened() as log:
        work = build if keep else compare
        with progress("rebuilding" if keep else "verifying") as advance:
            return await work(log, projection, projection.store(log), went=advance)


async def _again(session: Session, projection: Projection[Any], tenant: str | None, key: str | None) -> int:
    async with session.opened() as log:
        store = projection.store(log)
        if not await store.checkpoints(projection.name):
            raise unknown(projection.name)
        asked = await store.request(projection.name, FROM_START, tenant=tenant, key=key)
        with progress("rebuilding") as advance:
            while left := await _left(log, projection):
                advance(max(asked - left, 0), asked)
                await asyncio.sleep(0.1)
        return asked


async def _left(log: Log, projection: Projection[Any]) -> int:
    """How many keys have still to be folded again."""
    store = projection.store(log)
    live = next(at for at in await store.checkpoints(projection.name) if at.live)
    rows = await store.parked(projection.name, live.generation, limit=10_000)
    return sum(1 for row in rows if row.asked)


def _say(session: Session, name: str, compared: Compared, done: str, wrong: str) -> None:
    different = [f"{key.tenant}/{key.key}" for key in compared.different]
    if session.as_json:
        say_json({"projection": name, "keys": compared.keys, "different": different, "hash": compared.hash})
        return
    for place in different[:_SHOWN]:
        say(plain(f"  {place}"))
    ok = OUT.paint("ok", "green") if not different else OUT.paint("differs", "red")
    told = f", {len(different):,} {wrong}" if different else ""
    say(f"{ok}: {plain(name)} {done}, {compared.keys:,} states{told}; hash {compared.hash}")

"""`headwater projection list` and `show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from headwater.cli.apps import app_of
from headwater.cli.exits import NotThere
from headwater.cli.output import OUT, Colour, plain, say, say_json
from headwater.cli.projection.arguments import App, Name, OneKey, store_of, unknown
from headwater.cli.session import Json, Session, Url, run
from headwater.projections.current import in_use, state_in_use
from headwater.projections.open import store_for
from headwater.projections.stores import Key, StateRow
from headwater.projections.summary import COUNTED, Summary, as_fields, parked_fields, summaries

_COLOURS: dict[str, Colour] = {"current": "green", "behind": "cyan", "paused": "dim", "parked": "red"}


def list_(
    ctx: typer.Context,
    *,
    app: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="MODULE:APP", help="Also those whose states are elsewhere.", show_default=False
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print projections, one a line: how far they are, and what is parked."""
    session = Session.of(ctx, url, as_json)
    found = run(_list(session, app))
    if session.as_json:
        for summary in found:
            say_json(as_fields(summary))
        return
    widest = max((len(summary.name) for summary in found), default=0)
    for summary in found:
        say(f"{summary.name:<{widest}}  v{summary.version}  {_line(summary)}")


def show(
    ctx: typer.Context,
    name: Name,
    *,
    key: OneKey = None,
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant of the key.")] = "default",
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print how far a projection is and which keys are parked; with --key, a state."""
    session = Session.of(ctx, url, as_json)
    summary, rows = run(_show(session, name, key, tenant, app))
    if key is not None:
        [row] = rows
        said = {**parked_fields(row), "position": row.position, "state": _state(row)}
        say_json(said) if session.as_json else say(plain(json.dumps(said["state"], ensure_ascii=False)))
    elif session.as_json:
        say_json({**as_fields(summary), "keys": [parked_fields(row) for row in rows]})
    else:
        say(f"{summary.name}  version {summary.version}  {_line(summary)}")
        for row in rows:
            why = "to be folded again" if row.asked else f"parked at {row.parked:,}: {row.error}"
            say(plain(f"  {row.tenant}/{row.key}  {why}"))


async def _list(session: Session, app: str | None) -> Sequence[Summary]:
    async with session.opened() as log:
        found = {summary.name: summary for summary in await summaries(log, store_for(log))}
        for name, projection in (app_of(app).projections if app else {}).items():
            if name not in found:
                found |= {one.name: one for one in await summaries(log, projection.store(log), name)}
        return [found[name] for name in sorted(found)]


async def _show(
    session: Session, name: str, key: str | None, tenant: str, app: str | None
) -> tuple[Summary, Sequence[StateRow]]:
    async with session.opened() as log:
        store = store_of(log, app, name)
        found = await summaries(log, store, name)
        live = await in_use(store, name)
        if not found or live is None:
            raise unknown(name)
        if key is None:
            return found[0], await store.parked(name, live.generation, limit=COUNTED)
        row = await state_in_use(store, name, Key(tenant, key))
        if row is None:
            raise NotThere(f"Projection {name!r} has no state of key {key!r} of tenant {tenant!r}.")
        return found[0], [row]


def _state(row: StateRow) -> Any:
    return None if row.state is None else json.loads(row.state)


def _line(summary: Summary) -> str:
    more = [f"position {summary.position:,}"]
    if summary.lag:
        more.append(f"{summary.lag:,} behind")
    for count, what in ((summary.parked, "parked"), (summary.asked, "to be folded again")):
        if count:
            more.append(f"{count:,}{'+' if count == COUNTED else ''} {what}")
    if summary.building is not None:
        more.append(f"version {summary.building.version} is being built, at {summary.building.position:,}")
    return f"{OUT.paint(f'{summary.status:<7}', _COLOURS[summary.status])}  {', '.join(more)}"

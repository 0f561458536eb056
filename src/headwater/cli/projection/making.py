"""`headwater projection tables`: the tables of the user's own that show states."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.apps import app_of
from headwater.cli.output import plain, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.projections.open import table_for


def tables(
    ctx: typer.Context,
    app: Annotated[str, typer.Argument(metavar="MODULE:APP", help="The app that declares them.")],
    *,
    make: Annotated[bool, typer.Option("--make", help="Make those that are not there.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the statements that make the tables of an app's projections; with --make, run them.

    On Postgres their owner runs them, once, and again when a projection has a new table. On SQLite workers do by
    themselves.
    """
    session = Session.of(ctx, url, as_json)
    declared = app_of(app)
    shown = {name: one.table for name, one in sorted(declared.projections.items()) if one.table is not None}

    async def statements() -> dict[str, str]:
        async with session.opened() as log:
            found = {name: table_for(log, name, table) for name, table in shown.items()}
            if make:
                for one in found.values():
                    await one.make()
            return {name: one.made for name, one in found.items()}

    made = run(statements())
    if session.as_json:
        for name, sql in made.items():
            say_json({"projection": name, "table": shown[name].name, "made": make, "sql": sql})
    elif make:
        for name in made:
            say(f"{shown[name].name} shows the states of {name}")
    elif made:
        for line in "\n".join(made.values()).splitlines():
            say(plain(line))
    else:
        say(f"no projection of app {declared.name} has a table")

"""What the commands on projections are told, and the stores that they look into."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headwater.app import Headwater
from headwater.cli.apps import app_of
from headwater.cli.exits import NotThere
from headwater.log.log import Log
from headwater.projections.open import store_for
from headwater.projections.projection import Projection
from headwater.projections.stores import Store

Name = Annotated[str, typer.Argument(metavar="PROJECTION", help="The projection's name.")]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help="The app that declares it; needed where its states are not beside the log.",
        show_default=False,
    ),
]
OneTenant = Annotated[
    str | None, typer.Option("--tenant", help="Only this tenant's states.", show_default=False)
]
OneKey = Annotated[str | None, typer.Option("--key", help="Only the state of this key.", show_default=False)]


def declared(app: Headwater, name: str) -> Projection[Any]:
    """A projection of an app."""
    found: Projection[Any] | None = app.projections.get(name)
    if found is None:
        known = ", ".join(sorted(app.projections)) or "none"
        raise typer.BadParameter(f"App {app.name!r} has no projection {name!r}; it has: {known}.")
    return found


def store_of(log: Log, app: str | None, name: str) -> Store:
    """Where a projection's states are."""
    return store_for(log) if app is None else declared(app_of(app), name).store(log)


def unknown(name: str) -> NotThere:
    return NotThere(
        f"There are no states of a projection {name!r}. Check the name with `headwater projection list`; if no worker "
        "has folded it yet, start one. A store that is not beside the log is found with --app."
    )

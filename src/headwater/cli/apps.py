"""The app that a command works for, and the events that it reads."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.app import Headwater
from headwater.app.plugged import plugged_app
from headwater.errors import DeclarationRefused

Where = Annotated[str, typer.Argument(metavar="MODULE:APP", help="The app, as shop:app.")]

MaybeWhere = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE:APP]", help="The app, as shop:app; without one, what Headwater has built in."
    ),
]


def app_of(where: str | None) -> Headwater:
    """Import an app; without an address, that of the domains of all installed packages."""
    if where is None:
        return plugged_app()
    from headwater.worker.loading import load_app

    try:
        return load_app(where)
    except DeclarationRefused as error:
        raise typer.BadParameter(str(error)) from None

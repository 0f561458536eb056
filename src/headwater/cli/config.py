"""`headwater config`: what is set, and where each value came from."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import typer

from headwater.cli.output import OUT, plain, say, say_json
from headwater.cli.session import Json, Session
from headwater.settings import Settings, found, shown

app = typer.Typer(help="Show the settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """What may be set from outside a program."""


@app.command()
def show(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Print every setting, its value, and where that came from. Secrets and passwords are not shown."""
    session = Session.of(ctx, None, as_json)
    values, defaults = found(), Settings()
    told: dict[str, dict[str, Any]] = {}
    for field in fields(Settings):
        name = field.name
        value, source = values.get(name, (getattr(defaults, name), "the default"))
        if name == "url" and session.given is not None:
            value, source = session.given, "--url"
        told[name] = {"value": shown(name, value), "source": source}
    if session.as_json:
        say_json(told)
        return
    widest = max(map(len, told))
    for name, one in told.items():
        source = OUT.paint(f"({one['source']})", "dim")
        say(f"{name:<{widest}}  {plain(_text(one['value']))}  {source}")


def _text(value: Any) -> str:
    if value is None or value == ():
        return "not set"
    return str(value) if isinstance(value, str) else json.dumps(value)

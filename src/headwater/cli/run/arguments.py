"""What the commands on runs are told: a run, a tenant, JSON, `k=v`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant of the run.")]
Actor = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who does it; recorded with the event.", show_default=False),
]


def json_of(text: str, what: str) -> Any:
    """A JSON value of the command line."""
    try:
        return json.loads(text)
    except ValueError as error:
        hint = f" For the text {text} write {json.dumps(text)!r}." if text.isprintable() else ""
        raise typer.BadParameter(f"{what} is not JSON ({error}): {text[:80]!r}.{hint}") from None


def attributes_of(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{one!r} is not an attribute. Write NAME=VALUE.")
        found[name] = value
    return found

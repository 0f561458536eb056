"""`headwater events`: freeze the schemas of a program's events, and check that they are as they were frozen."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.output import OUT, plain, say, say_json
from headwater.cli.session import Json, Session
from headwater.events import schemas
from headwater.events.registry import Registry

app = typer.Typer(help="Freeze and check event schemas.", no_args_is_help=True, rich_markup_mode=None)

Where = Annotated[
    str, typer.Argument(metavar="MODULE:REGISTRY", help="The registry, as shop.events:registry.")
]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", file_okay=False, help="Where the schemas are kept.")
]


@app.command()
def freeze(ctx: typer.Context, registry: Where, folder: Folder, *, as_json: Json = False) -> None:
    """Write the schemas of new event types and versions. What is frozen already is never changed."""
    session = Session.of(ctx, None, as_json)
    events = _load(registry)
    written = [str(file) for file in schemas.freeze(events, folder)]
    problems = schemas.check(events, folder)
    if session.as_json:
        say_json({"ok": not problems, "written": written, "problems": problems})
    else:
        for file in written:
            say(f"wrote {plain(file)}")
        _say_problems(problems, f"{len(list(events))} event types are frozen")
    raise typer.Exit(1 if problems else 0)


@app.command()
def check(ctx: typer.Context, registry: Where, folder: Folder, *, as_json: Json = False) -> None:
    """Compare the models with the frozen schemas. Exit code 1 when one changed its shape without a new version."""
    session = Session.of(ctx, None, as_json)
    events = _load(registry)
    problems = schemas.check(events, folder)
    if session.as_json:
        say_json({"ok": not problems, "problems": problems})
    else:
        _say_problems(problems, f"{len(list(events))} event types are as they were frozen")
    raise typer.Exit(1 if problems else 0)


def _say_problems(problems: list[str], well: str) -> None:
    for problem in problems:
        say(f"{OUT.paint('problem', 'red')}: {plain(problem)}")
    if not problems:
        say(f"{OUT.paint('ok', 'green')}: {well}")


def _load(where: str) -> Registry:
    name, _, attribute = where.partition(":")
    if not name or not attribute:
        raise typer.BadParameter(
            f"{where!r} names no registry. Write MODULE:REGISTRY, as shop.events:registry."
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(name), attribute)
    except ModuleNotFoundError as error:
        raise typer.BadParameter(f"{error}. Run this where {name!r} can be imported.") from None
    except AttributeError as error:
        raise typer.BadParameter(f"{error}.") from None
    if not isinstance(found, Registry):
        raise typer.BadParameter(f"{where} is a {type(found).__name__}, not a Registry.")
    return found

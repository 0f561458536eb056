"""`headwater pipeline list` and `show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headwater.cli.apps import Where, app_of
from headwater.cli.output import plain, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.pipelines.summary import COUNTED, pipeline_json, pipeline_of, with_progress
from headwater.runs.events import registry_of

app = typer.Typer(help="Look at an app's pipelines.", no_args_is_help=True, rich_markup_mode=None)

_WHAT = ("events", "projections", "commands", "reactors")


@app.command("list")
def list_(ctx: typer.Context, app: Where, *, as_json: Json = False) -> None:
    """Print the pipelines of an app, one a line."""
    session = Session.of(ctx, None, as_json)
    loaded = app_of(app)
    found = [pipeline_json(pipeline_of(loaded, name)) for name in sorted(loaded.pipelines)]
    widest = max((len(one["name"]) for one in found), default=0)
    for one in found:
        if session.as_json:
            say_json(one)
        else:
            parts = [
                f"{len(one[what])} {what}"
                for what in ("events", "projections", "commands", "reactors")
                if one[what]
            ]
            say(plain(f"{one['name']:<{widest}}  of {one['aggregate_type']}: {', '.join(parts)}"))


@app.command()
def show(
    ctx: typer.Context,
    app: Where,
    name: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print a pipeline: what it declares, how far its projections and reactors are, how many commands wait."""
    session = Session.of(ctx, url, as_json)
    loaded = app_of(app)
    pipeline = pipeline_of(loaded, name)

    async def read() -> dict[str, Any]:
        async with session.opened(registry=registry_of(loaded)) as log:
            return await with_progress(log, pipeline)

    told = run(read())
    if session.as_json:
        say_json(told)
        return
    say(plain(f"{told['name']}  of {told['aggregate_type']}"))
    say(plain(f"  events     {', '.join(told['events'])}"))
    if told["commands"]:
        more = "+" if told["waiting"] == COUNTED else ""
        say(plain(f"  commands   {', '.join(told['commands'])}; {told['waiting']}{more} wait"))
    for what, names, progress in (
        ("projection", told["projections"], told["progress"]),
        ("reactor", told["reactors"], told["reacting"]),
    ):
        for one in names:
            there = progress.get(one)
            how = (
                f"{there['status']}, at {there['position']:,}, {there['lag']:,} behind"
                if there
                else "not begun"
            )
            say(plain(f"  {what:<10} {one}: {how}"))

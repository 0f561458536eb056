"""The commands of `headwater projection`."""

from __future__ import annotations

import typer

from headwater.cli.projection import asking, making, rebuilding, showing

app = typer.Typer(help="Look at projections, and rebuild them.", no_args_is_help=True, rich_markup_mode=None)
app.command("list")(showing.list_)
app.command("show")(showing.show)
app.command("rebuild")(rebuilding.rebuild)
app.command("verify")(rebuilding.verify)
app.command("pause")(asking.pause)
app.command("resume")(asking.resume)
app.command("redrive")(asking.redrive)
app.command("tables")(making.tables)

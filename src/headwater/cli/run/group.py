"""The commands of `headwater run`."""

from __future__ import annotations

import typer

from headwater.cli.run import asking, history, listing, results, showing, starting

app = typer.Typer(help="Start runs, look at them, talk to them.", no_args_is_help=True, rich_markup_mode=None)
app.command("start")(starting.start)
app.command("list")(listing.list_)
app.command("show")(showing.show)
app.command("tail")(history.tail)
app.command("result")(results.result)
app.command("cancel")(asking.cancel)
app.command("send")(asking.send)
app.command("resume")(asking.resume)
app.command("history")(history.history)
app.command("export")(history.export)

"""`headwater log`: look into the log, check it, move it."""

from __future__ import annotations

import typer

from headwater.cli import show, tail, transfer, verify

app = typer.Typer(help="Look into the log, check it, move it.", no_args_is_help=True, rich_markup_mode=None)
app.command("tail")(tail.tail)
app.command("show")(show.show)
app.command("verify")(verify.verify)
app.command("export")(transfer.export)
app.command("import")(transfer.import_)

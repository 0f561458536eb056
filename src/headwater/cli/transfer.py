"""`headwater log export` and `import`: how a log moves between backends, or into an archive.

An export has another name until it is whole (see `files`). An import is one transaction of the backend.
"""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.files import STANDARD, source, target
from headwater.cli.output import ReaderGone, say, say_json
from headwater.cli.progress import progress
from headwater.cli.session import Json, Session, Url, run
from headwater.log.transfer import export_lines, import_lines
from headwater.runs.rebuild import RunRows


def export(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Compressed when it ends in .gz; - is standard output.")
    ] = STANDARD,
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write the log as it is now, as JSON Lines."""
    session = Session.of(ctx, url, as_json)
    try:
        events = run(_export(session, file))
    except BrokenPipeError:
        raise ReaderGone from None
    if file == STANDARD:
        return
    if session.as_json:
        say_json({"file": file, "events": events})
    else:
        say(f"exported {events:,} events to {file}")


async def _export(session: Session, file: str) -> int:
    events = -1  # the first line is the header
    async with session.opened() as log:
        with target(file) as write, progress("exporting") as advance:
            async for line in export_lines(log, advance):
                write(line.encode() + b"\n")
                events += not line.startswith('{"blob"')
    return events


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote; - is standard input.")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write an export into an empty log: the same positions, ids, times and chain."""
    session = Session.of(ctx, url, as_json)
    events = run(_import(session, file))
    if session.as_json:
        say_json({"file": file, "events": events, "url": session.shown_url})
    else:
        say(f"imported {events:,} events into {session.shown_url}")


async def _import(session: Session, file: str) -> int:
    with source(file) as lines:
        async with session.opened(create=True) as log:
            with progress("importing") as advance:
                return await import_lines(log, lines, RunRows(log.codec), advance)

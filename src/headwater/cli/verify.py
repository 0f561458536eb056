"""`headwater log verify`: is the log what was written?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.output import OUT, say, say_json
from headwater.cli.progress import progress
from headwater.cli.session import Json, Session, Url, run
from headwater.errors import ChainBroken
from headwater.log.verify import Anchor
from headwater.log.verify import verify as recompute


def verify(
    ctx: typer.Context,
    *,
    anchor: Annotated[
        Path | None,
        typer.Option(
            "--anchor", metavar="FILE", exists=True, dir_okay=False, help="Anchors kept from earlier."
        ),
    ] = None,
    write_anchor: Annotated[
        Path | None,
        typer.Option("--write-anchor", metavar="FILE", dir_okay=False, help="Add today's anchor to a file."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Recompute every digest and the whole chain; print today's anchor. Exit code 1 when something is wrong."""
    session = Session.of(ctx, url, as_json)
    anchors = [] if anchor is None else _read(anchor)
    try:
        today = run(_verify(session, anchors))
    except ChainBroken as error:
        if not session.as_json:
            raise
        say_json(
            {
                "ok": False,
                "error": error.code,
                "message": str(error),
                "position": error.position,
                "why": error.why,
            }
        )
        raise typer.Exit(1) from None
    if write_anchor is not None:
        _add(write_anchor, today)
    if session.as_json:
        fields = json.loads(today.line())
        say_json({"ok": True, "events": today.place.position, "anchors": len(anchors), "anchor": fields})
    else:
        fits = f", and it fits {len(anchors)} anchor(s)" if anchors else ""
        say(f"{OUT.paint('ok', 'green')}: {today.place.position:,} events, the chain holds{fits}")
        say(today.line())


async def _verify(session: Session, anchors: list[Anchor]) -> Anchor:
    async with session.opened() as log:
        with progress("verifying") as advance:
            end = (await log.head()).position
            return await recompute(log, anchors, lambda position: advance(position, end))


def _read(file: Path) -> list[Anchor]:
    return [Anchor.parse(line) for line in file.read_text(errors="replace").splitlines() if line.strip()]


def _add(file: Path, anchor: Anchor) -> None:
    with file.open("a") as out:
        out.write(anchor.line() + "\n")
        out.flush()
        os.fsync(out.fileno())

"""`headwater run list`: the runs, newest first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from headwater.cli.output import OUT, Colour, plain, say, say_json
from headwater.cli.run.arguments import Tenant
from headwater.cli.session import Json, Session, Url, run
from headwater.errors import RunNotFound
from headwater.runs.entry import RunSummary
from headwater.runs.machines import RunStatus
from headwater.runs.plain import summary_json
from headwater.runs.rows import DEFAULT_TENANT, LIST
from headwater.runs.store import Runs

COLOURS: dict[str, Colour] = {
    "pending": "dim",
    "running": "cyan",
    "held": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
}


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def list_(
    ctx: typer.Context,
    *,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", help="One workflow.", show_default=False)
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="One status; may be repeated.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many runs.")] = 20,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="RUN", help="Runs older than this one.", show_default=False),
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print runs, one a line, the newest first."""
    session = Session.of(ctx, url, as_json)
    statuses: list[RunStatus] = [one.value for one in status or ()]
    found = run(_list(session, tenant, workflow, statuses, before, limit))
    if session.as_json:
        for summary in found:
            say_json(summary_json(summary))
    else:
        _say(found)


async def _list(
    session: Session,
    tenant: str,
    workflow: str | None,
    statuses: Sequence[RunStatus],
    before: str | None,
    limit: int,
) -> Sequence[RunSummary]:
    async with session.opened() as log:
        place: tuple[int, str] | None = None
        if before is not None:
            rows = await log.backend.entries(tenant, LIST, keys=[before], limit=1)
            if not rows:
                raise RunNotFound(before, tenant)
            place = (rows[0].at, before)
        return await Runs(log).list(tenant, workflow=workflow, status=statuses, before=place, limit=limit)


def _say(found: Sequence[RunSummary]) -> None:
    widest = max((len(summary.run) for summary in found), default=0)
    longest = max((len(summary.workflow) for summary in found), default=0)
    for summary in found:
        at = summary.created_at.strftime("%Y-%m-%d %H:%M:%S")
        head = f"{at}  {plain(summary.run):<{widest}}  {plain(summary.workflow):<{longest}}  "
        more = plain(_more(summary))
        if OUT.on_terminal:
            room = max(shutil.get_terminal_size().columns - len(head) - 11, 8)
            more = more if len(more) <= room else more[: room - 1] + "…"
        say(f"{head}{OUT.paint(f'{summary.status:<9}', COLOURS[summary.status])}  {more}".rstrip())


def _more(summary: RunSummary) -> str:
    """What the run says of itself: its error, else its state; and its attributes."""
    said = [summary.error] if summary.error else []
    if summary.state is not None and not said:
        said.append(summary.state if isinstance(summary.state, str) else json.dumps(summary.state))
    return "  ".join([*said, *[f"{name}={value}" for name, value in summary.attributes.items()]])

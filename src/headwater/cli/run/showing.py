"""`headwater run show`: a run now, at a version or at a time, with what its calls did on an axis of time."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Annotated

import typer

from headwater.cli.exits import NotThere
from headwater.cli.output import OUT, say, say_json
from headwater.cli.run.arguments import RunId, Tenant
from headwater.cli.run.drawing import draw, facts
from headwater.cli.session import Json, Session, Url
from headwater.cli.session import run as run_
from headwater.cli.show import parse_time
from headwater.errors import RunNotFound
from headwater.events.clock import from_us
from headwater.runs.history_file import Fact, fact_of
from headwater.runs.plain import line_json, state_json
from headwater.runs.rows import DEFAULT_TENANT, LIST
from headwater.runs.state import RunState, apply
from headwater.runs.store import Runs
from headwater.runs.timeline import Line, timeline

_WIDTH = 110


def show(
    ctx: typer.Context,
    run: RunId,
    *,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", metavar="N", min=1, help="The run as it was at an event.", show_default=False
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="The run as it was recorded by a time.", show_default=False
        ),
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print a run: what it is, and when its steps, waits and hooks did what, on which worker."""
    session = Session.of(ctx, url, as_json)
    until = None if at is None else parse_time(at)
    state, lines, now = run_(_read(session, run, tenant, version, until))
    if session.as_json:
        say_json({**state_json(state), "timeline": [line_json(line) for line in lines]})
        return
    width = shutil.get_terminal_size().columns if OUT.on_terminal else _WIDTH
    for text in facts(state):
        say(text)
    if lines:
        say("")
        for text in draw(state, lines, now, width):
            say(text)


async def _read(
    session: Session, run: str, tenant: str, version: int | None, until: datetime | None
) -> tuple[RunState, list[Line], datetime]:
    """The run, its lines, and the time that it is seen at."""
    async with session.opened() as log:
        state, history = RunState(), list[Fact]()
        async for recorded in Runs(log).events(run, tenant, until=until, to_version=version):
            state = apply(state, recorded)
            history.append(fact_of(recorded))
        if not history and until is not None and await log.backend.entries(tenant, LIST, keys=[run], limit=1):
            raise NotThere(f"Run {run!r} was created after {until.isoformat()}.")
        if not history:
            raise RunNotFound(run, tenant)
        last = from_us(history[-1].recorded_us)
        now = until or (last if version is not None else from_us(await log.backend.now_us()))
        return state, timeline(history), max(now, last)

"""`headwater run result`: how a run ended, when it has."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from headwater.app import Headwater
from headwater.cli.exits import Exit, NotThere
from headwater.cli.output import ERRORS, plain, plain_lines, say, say_json
from headwater.cli.run.arguments import RunId, Tenant
from headwater.cli.session import Json, Session, Url
from headwater.cli.session import run as run_
from headwater.client import Client
from headwater.client.handle import RunEnd
from headwater.log.log import Log
from headwater.runs.events import RunCompleted, RunFailed
from headwater.runs.rows import DEFAULT_TENANT, label_of


def result(
    ctx: typer.Context,
    run: RunId,
    *,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="S", help="Wait no longer than this.", show_default=False),
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Wait until a run has ended, and print its output. Exit code 1 when it failed or was cancelled."""
    session = Session.of(ctx, url, as_json)

    async def wait() -> RunEnd:
        async with session.opened() as log:
            return await ended(log, run, tenant, timeout)

    say_end(session, run, run_(wait()))


async def ended(log: Log, run: str, tenant: str, timeout: float | None) -> RunEnd:
    """The end of a run, waited for."""
    async with Client(Headwater("cli"), log=log, worker=False, tenant=tenant) as client:
        state = await client.get(run)
        label = label_of(state.workflow, state.workflow_version)
        try:
            return await client.wait_for(run, label, timeout)
        except TimeoutError:
            now = (await client.get(run)).status
            raise NotThere(f"Run {run!r} has not ended within {timeout:g} s; it is {now}.") from None


def say_end(session: Session, run: str, end: RunEnd) -> None:
    """Print how a run ended, and exit accordingly."""
    said = {
        "run": run,
        "status": end.type.removeprefix("run_"),
        **end.model_dump(mode="json", exclude={"type"}),
    }
    if session.as_json:
        say_json(said)
        raise typer.Exit(Exit.OK if isinstance(end, RunCompleted) else Exit.PROBLEM)
    if isinstance(end, RunCompleted):
        say(plain_lines(json.dumps(end.output, indent=2, ensure_ascii=False)))
        raise typer.Exit(Exit.OK)
    if isinstance(end, RunFailed):
        text = f"run {run} failed: {end.error.type}: {end.error.message}"
    else:
        text = f"run {run} was cancelled{f': {end.reason}' if end.reason else ''}"
    sys.stderr.write(f"{ERRORS.paint('error:', 'red')} {plain(text)}\n")
    raise typer.Exit(Exit.PROBLEM)

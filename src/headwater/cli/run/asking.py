"""`headwater run cancel`, `send`, `resume`: what a person has to say to a run."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.output import plain, say, say_json
from headwater.cli.run.arguments import Actor, RunId, Tenant, json_of
from headwater.cli.session import Json, Session, Url
from headwater.cli.session import run as run_
from headwater.runs.rows import DEFAULT_TENANT
from headwater.runs.sending import Sent
from headwater.runs.store import Runs


def cancel(
    ctx: typer.Context,
    run: RunId,
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why.", show_default=False)
    ] = None,
    actor: Actor = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a run to end; it may clean up first. Asking again changes nothing."""

    async def ask(session: Session) -> str:
        async with session.opened() as log:
            runs = Runs(log)
            await runs.cancel(run, tenant, reason, actor)
            return (await runs.get(run, tenant)).status

    session = Session.of(ctx, url, as_json)
    status = run_(ask(session))
    if session.as_json:
        say_json({"run": run, "status": status})
    else:
        say(
            f"run {plain(run)} is {'cancelled' if status == 'cancelled' else f'asked to end; it is {status}'}"
        )


def resume(
    ctx: typer.Context,
    run: RunId,
    *,
    actor: Actor = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let a held run go on, where its code and its history fit again."""

    async def ask(session: Session) -> None:
        async with session.opened() as log:
            await Runs(log).resume(run, tenant, actor)

    session = Session.of(ctx, url, as_json)
    run_(ask(session))
    if session.as_json:
        say_json({"run": run, "status": "running"})
    else:
        say(f"run {plain(run)} goes on")


def send(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token of an open hook.")],
    payload: Annotated[str, typer.Argument(metavar="JSON", help="What the workflow is to be given.")],
    *,
    to: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Only to this run.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Payloads with one key count once.", show_default=False),
    ] = None,
    actor: Actor = None,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send a payload to the hook that is open under a token."""
    value = json_of(payload, "The payload")

    async def ask(session: Session) -> Sent:
        async with session.opened() as log:
            return await Runs(log).send(token, value, tenant, run=to, key=key, actor=actor)

    session = Session.of(ctx, url, as_json)
    sent = run_(ask(session))
    if session.as_json:
        say_json({"run": sent.run, "call": sent.call, "new": sent.new})
    elif sent.new:
        say(f"sent to run {plain(sent.run)}")
    else:
        say(f"was sent before, to run {plain(sent.run)}: nothing is changed")

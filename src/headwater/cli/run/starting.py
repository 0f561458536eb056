"""`headwater run start`: a run of an app's workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from headwater.app import Headwater, Workflow
from headwater.app.plain import bound, workflow_of
from headwater.app.workflows import Bound
from headwater.cli.apps import Where, app_of
from headwater.cli.output import plain, say, say_json
from headwater.cli.run.arguments import Tenant, attributes_of, json_of
from headwater.cli.run.results import ended, say_end
from headwater.cli.session import Json, Session, Url, run
from headwater.client import Client, RunHandle
from headwater.client.handle import RunEnd
from headwater.errors import ArgumentsRefused, PayloadRefused, WorkflowUnknown
from headwater.runs.events import registry_of
from headwater.runs.rows import DEFAULT_TENANT


def start(
    ctx: typer.Context,
    app: Where,
    workflow: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW[@VERSION]", help="Its name; the newest version if none is given."),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[JSON]...", help="The arguments, in order.")
    ] = None,
    *,
    given: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="JSON", help="The arguments, as an object by name.", show_default=False
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The run's id.", show_default=False)
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute", metavar="K=V", help="What it can be found by; may be repeated.", show_default=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result, as `run result` does.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Start a run, and print its id. The same id with the same workflow and arguments is the same run."""
    session = Session.of(ctx, url, as_json)
    loaded = app_of(app)
    asked = _bind(_workflow(loaded, workflow), arguments or [], given)
    attributes = attributes_of(attribute or ())
    handle, end = run(_start(session, loaded, asked, id, attributes, tenant, wait=wait))
    if end is not None:
        say_end(session, handle.id, end)
    elif session.as_json:
        say_json({"run": handle.id, "workflow": asked.workflow.name, "new": handle.new})
    else:
        say(plain(handle.id))


async def _start(
    session: Session,
    app: Headwater,
    asked: Bound[Any],
    id: str | None,
    attributes: dict[str, str],
    tenant: str,
    *,
    wait: bool,
) -> tuple[RunHandle[Any], RunEnd | None]:
    async with session.opened(create=True, registry=registry_of(app)) as log:
        async with Client(app, log=log, worker=False, tenant=tenant) as client:
            how: dict[str, Any] = {"attributes": attributes} | ({} if id is None else {"id": id})
            handle = await client.start(asked, **how)
        return handle, await ended(log, handle.id, tenant, None) if wait else None


def _workflow(app: Headwater, text: str) -> Workflow[..., Any]:
    name, at, version = text.partition("@")
    if at and not version.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a workflow. Write NAME, or NAME@VERSION.")
    try:
        return workflow_of(app, name, int(version) if at else None)
    except WorkflowUnknown as error:
        raise typer.BadParameter(str(error)) from None


def _bind(workflow: Workflow[..., Any], arguments: Sequence[str], given: str | None) -> Bound[Any]:
    """The workflow with its arguments, as its own types read them."""
    by_name = None if given is None else json_of(given, "--input")
    if by_name is not None and not isinstance(by_name, dict):
        raise typer.BadParameter("--input is an object of arguments by name, as '{\"order\": 7}'.")
    ordered = [json_of(text, "An argument") for text in arguments]
    try:
        return bound(workflow, cast("dict[str, Any] | None", by_name), ordered)[0]
    except (ArgumentsRefused, PayloadRefused) as error:
        raise typer.BadParameter(str(error)) from None

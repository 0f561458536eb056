"""`headwater run start`: a run of an app's workflow."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from headwater.app import Headwater, Workflow
from headwater.app.workflows import Bound
from headwater.cli.apps import Where, app_of, registry_of
from headwater.cli.output import plain, say, say_json
from headwater.cli.run.arguments import Tenant, attributes_of, json_of
from headwater.cli.run.results import ended, say_end
from headwater.cli.session import Json, Session, Url, run
from headwater.client import Client, RunHandle
from headwater.client.handle import RunEnd
from headwater.errors import DeclarationRefused, PayloadRefused
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
    bound = _bind(_workflow(loaded, workflow), arguments or [], given)
    attributes = attributes_of(attribute or ())
    handle, end = run(_start(session, loaded, bound, id, attributes, tenant, wait=wait))
    if end is not None:
        say_end(session, handle.id, end)
    elif session.as_json:
        say_json({"run": handle.id, "workflow": bound.workflow.name, "new": handle.new})
    else:
        say(plain(handle.id))


async def _start(
    session: Session,
    app: Headwater,
    bound: Bound[Any],
    id: str | None,
    attributes: dict[str, str],
    tenant: str,
    *,
    wait: bool,
) -> tuple[RunHandle[Any], RunEnd | None]:
    async with session.opened(create=True, registry=registry_of(app)) as log:
        async with Client(app, log=log, worker=False, tenant=tenant) as client:
            how: dict[str, Any] = {"attributes": attributes} | ({} if id is None else {"id": id})
            handle = await client.start(bound, **how)
        return handle, await ended(log, handle.id, tenant, None) if wait else None


def _workflow(app: Headwater, text: str) -> Workflow[..., Any]:
    name, _, version = text.partition("@")
    found = {v: w for (n, v), w in app.workflows.items() if n == name}
    chosen = found.get(int(version)) if version.isdecimal() else found.get(max(found, default=0))
    if chosen is None or (version and not version.isdecimal()):
        there = ", ".join(f"{name}@{version}" for name, version in sorted(app.workflows)) or "none"
        raise typer.BadParameter(f"App {app.name!r} has no workflow {text!r}; it has: {there}.")
    return chosen


def _bind(workflow: Workflow[..., Any], arguments: Sequence[str], given: str | None) -> Bound[Any]:
    """The workflow with its arguments, as its own types read them."""
    if given is not None and arguments:
        raise typer.BadParameter("Give the arguments in order, or by name with --input; not both.")
    names = list(inspect.signature(workflow.function).parameters.values())
    if given is not None:
        plain = json_of(given, "--input")
        if not isinstance(plain, dict):
            raise typer.BadParameter("--input is an object of arguments by name, as '{\"order\": 7}'.")
        by_name = cast(dict[str, Any], plain)
        known = {p.name for p in names}
        if unknown := sorted(set(by_name) - known):
            raise typer.BadParameter(
                f"{workflow.name} has no argument {', '.join(unknown)}; it takes: {', '.join(sorted(known)) or 'none'}."
            )
    else:
        by_name = _by_name(workflow, names, [json_of(text, "An argument") for text in arguments])
    try:
        args, kwargs = workflow.signature.load(by_name)
        bound = workflow.bind(*args, **kwargs)
        bound.input()
    except (DeclarationRefused, PayloadRefused) as error:
        raise typer.BadParameter(str(error)) from None
    return bound


def _by_name(
    workflow: Workflow[..., Any], names: Sequence[inspect.Parameter], values: list[Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = list(values)
    for parameter in names:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found[parameter.name], left = left, []
        elif left and parameter.kind in {
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        }:
            found[parameter.name] = left.pop(0)
    if left:
        raise typer.BadParameter(
            f"{workflow.name} takes {len(values) - len(left)} arguments in order, and got {len(values)}. "
            "Name the others with --input."
        )
    return found

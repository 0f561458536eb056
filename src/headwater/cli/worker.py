"""`headwater worker`: a process that executes runs and steps."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from headwater.app import Headwater
from headwater.cli.apps import Where, app_of, registry_of
from headwater.cli.output import flush, plain, say, say_json
from headwater.cli.process import on_signals, run_for_long
from headwater.cli.session import Json, Session, Url
from headwater.engine.options import EngineOptions

_DEFAULTS = EngineOptions()


def worker(
    ctx: typer.Context,
    app: Where,
    *,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            metavar="NAME[=N],...",
            help="Execute steps of these queues, N at once: gpu=4,default. Default: all that the app names.",
            show_default=False,
        ),
    ] = None,
    only_queues: Annotated[
        bool, typer.Option("--only-queues", help="Execute no runs, only steps of queues.")
    ] = False,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", min=1, metavar="N", help="Steps at once of a queue that has no =N."),
    ] = _DEFAULTS.concurrency,
    lease: Annotated[
        float,
        typer.Option(
            "--lease", min=0.5, metavar="S", help="Seconds of silence after which others take over."
        ),
    ] = _DEFAULTS.lease,
    grace: Annotated[
        float,
        typer.Option("--grace", min=0, metavar="S", help="Seconds that steps under way have when it stops."),
    ] = _DEFAULTS.grace,
    alone: Annotated[str | None, typer.Option("--alone", metavar="TENANT/RUN", hidden=True)] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Execute the runs of an app until told to stop (SIGINT, SIGTERM); a second signal ends it at once."""
    session = Session.of(ctx, url, as_json)
    loaded = app_of(app)
    wanted = _queues(loaded, queues, concurrency)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if alone is not None:
        run_for_long(_alone(session, loaded, alone))
        return
    options = EngineOptions(
        lease=lease, grace=grace, queues=wanted, concurrency=concurrency, workflows=not only_queues
    )
    run_for_long(_serve(session, loaded, options, app))


def _queues(app: Headwater, text: str | None, concurrency: int) -> dict[str, int]:
    """The queues to serve, and how many steps of each at once."""
    if text is None:
        return dict.fromkeys(
            sorted({s.options.queue for s in app.steps.values() if s.options.queue}), concurrency
        )
    found: dict[str, int] = {}
    for one in filter(None, text.split(",")):
        name, _, number = one.strip().partition("=")
        if not name or (number and not (number.isdecimal() and int(number))):
            raise typer.BadParameter(f"{one!r} is not a queue. Write NAME, or NAME=N with N above 0.")
        found[name] = int(number or concurrency)
    return found


async def _serve(session: Session, app: Headwater, options: EngineOptions, where: str) -> None:
    from headwater.worker.alone import in_a_child
    from headwater.worker.start import start

    stop = on_signals()
    async with session.opened(create=True, registry=registry_of(app)) as log:
        worker = await start(app, log, options, alone=in_a_child(where, session.url))
        try:
            _say_serving(session, app, options, worker.engine.worker)
            await stop.wait()
        finally:
            await worker.stop()
    if session.as_json:
        say_json({"event": "stopped", "worker": worker.engine.worker})
    else:
        say(f"worker {worker.engine.worker} has stopped")


async def _alone(session: Session, app: Headwater, place: str) -> None:
    from headwater.worker.alone import execute_alone

    tenant, _, run = place.partition("/")
    async with session.opened(registry=registry_of(app)) as log:
        await execute_alone(app, log, tenant, run)


def _say_serving(session: Session, app: Headwater, options: EngineOptions, worker: str) -> None:
    workflows = [f"{name}@{version}" for name, version in sorted(app.workflows)] if options.workflows else []
    if session.as_json:
        say_json(
            {
                "event": "serving",
                "worker": worker,
                "pid": os.getpid(),
                "app": app.name,
                "workflows": workflows,
                "queues": dict(options.queues or {}),
                "url": session.shown_url,
            }
        )
    else:
        queues = [f"{name} ({number} at once)" for name, number in (options.queues or {}).items()]
        serves = [f"workflows {', '.join(workflows)}"] if workflows else []
        serves += [f"queues {', '.join(queues)}"] if queues else []
        what = "; ".join(serves) or "nothing: the app declares no workflow and no queue"
        say(plain(f"worker {worker} of app {app.name} on {session.shown_url} serves {what}"))
    flush()

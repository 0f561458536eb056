"""`headwater worker`: processes that execute runs and steps, fold projections, and do what else an app has for them."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from typing import Annotated, Final

import typer

from headwater.app import Headwater
from headwater.cli.apps import MaybeWhere, app_of
from headwater.cli.logs import LogFormat, LogFormatOption, set_up_logs
from headwater.cli.output import flush, plain, say, say_json
from headwater.cli.process import on_signals, run_for_long
from headwater.cli.session import Json, Session, Url
from headwater.cli.workers import run_workers
from headwater.engine.options import EngineOptions
from headwater.runs.events import registry_of
from headwater.settings import Settings
from headwater.telemetry.answering import answer_near
from headwater.telemetry.tracing import set_up

LOGGER: Final = logging.getLogger("headwater.worker")
_DEFAULTS = EngineOptions()
_PARTS = ("runs", "queues", "projections", "pipelines")


def worker(
    ctx: typer.Context,
    app: MaybeWhere = None,
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
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="PART,...",
            help="Do no more than this: runs, queues, projections, pipelines, or a domain's name.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", min=1, metavar="N", help="Steps at once of a queue that has no =N."),
    ] = _DEFAULTS.concurrency,
    processes: Annotated[
        int, typer.Option("--processes", min=1, metavar="N", help="So many of them, watched by this one.")
    ] = 1,
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
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65535,
            metavar="N",
            help="Where /metrics and /healthz are; 0: a free one. Default: 2999.",
            show_default=False,
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    alone: Annotated[str | None, typer.Option("--alone", metavar="TENANT/RUN", hidden=True)] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Execute the runs of an app until told to stop (SIGINT, SIGTERM); a second signal ends it at once."""
    session = Session.of(ctx, url, as_json)
    set_up_logs(log_format)
    loaded = app_of(app)
    if alone is not None:
        run_for_long(_alone(session, loaded, alone))
        return
    parts = _parts(loaded, only)
    settings = Settings.read()
    port = settings.metrics_port if metrics_port is None else metrics_port
    options = EngineOptions(
        lease=lease, grace=grace, queues=_queues(loaded, queues, concurrency), concurrency=concurrency
    )
    if processes > 1:
        arguments = ["worker", *([app] if app else []), "--concurrency", str(concurrency)]
        arguments += ["--lease", str(lease)]
        arguments += ["--log-format", log_format.value]
        arguments += ["--queues", queues] if queues is not None else []
        arguments += ["--only", only] if only is not None else []
        raise typer.Exit(run_workers(session, arguments, processes, grace, settings.metrics_host, port))
    run_for_long(_serve(session, loaded, options, app, parts, settings.metrics_host, port))


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


def _parts(app: Headwater, text: str | None) -> list[str]:
    """The parts that were asked for; none: all."""
    if text is None:
        return []
    asked = [one.strip() for one in text.split(",") if one.strip()]
    known = [*_PARTS, *app.domains]
    unknown = [one for one in asked if one not in known]
    if unknown or not asked:
        what = ", ".join(unknown) or text
        raise typer.BadParameter(
            f"{what!r} is no part of a worker of this app; there are: {', '.join(known)}."
        )
    return asked


async def _serve(
    session: Session,
    app: Headwater,
    options: EngineOptions,
    where: str | None,
    only: list[str],
    host: str,
    port: int,
) -> None:
    from headwater.worker.alone import in_a_child
    from headwater.worker.start import start
    from headwater.worker.telling import texts

    stop = on_signals()
    alone = in_a_child(where, session.url) if where else None
    async with session.opened(create=True, registry=registry_of(app)) as log, AsyncExitStack() as running:
        running.enter_context(app.using(log))
        running.callback(set_up(f"{app.name}-worker", everything=True))
        worker = await start(app, log, options, alone=alone, only=only)
        running.push_async_callback(worker.stop)
        server, told_at = await answer_near(host, port, texts(worker, log), LOGGER)
        running.callback(server.close)
        _say_serving(session, app, worker.options, worker.engine.worker, told_at)
        await stop.wait()
    if session.as_json:
        say_json({"event": "stopped", "worker": worker.engine.worker})
    else:
        say(f"worker {worker.engine.worker} has stopped")


async def _alone(session: Session, app: Headwater, place: str) -> None:
    from headwater.worker.alone import execute_alone

    tenant, _, run = place.partition("/")
    async with session.opened(registry=registry_of(app)) as log:
        await execute_alone(app, log, tenant, run)


def _say_serving(session: Session, app: Headwater, options: EngineOptions, worker: str, told_at: str) -> None:
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
                "metrics": f"{told_at}/metrics",
            }
        )
    else:
        queues = [f"{name} ({number} at once)" for name, number in (options.queues or {}).items()]
        serves = [f"workflows {', '.join(workflows)}"] if workflows else []
        serves += [f"queues {', '.join(queues)}"] if queues else []
        what = "; ".join(serves) or "nothing: the app declares no workflow and no queue"
        say(plain(f"worker {worker} of app {app.name} on {session.shown_url} serves {what}"))
    flush()

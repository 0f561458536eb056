"""`headwater serve`: a process that answers HTTP, and executes nothing."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.app import Headwater
from headwater.cli.apps import MaybeWhere, app_of
from headwater.cli.listening import Host, Port, RequireKey
from headwater.cli.logs import LogFormat, LogFormatOption, set_up_logs
from headwater.cli.output import flush, plain, say, say_json
from headwater.cli.process import on_signals, run_for_long
from headwater.cli.session import Json, Session, Url
from headwater.errors import SettingRefused
from headwater.settings import Settings
from headwater.telemetry.tracing import set_up

if TYPE_CHECKING:
    from headwater.server.options import ServerOptions


def serve(
    ctx: typer.Context,
    app: MaybeWhere = None,
    *,
    host: Host = None,
    port: Port = None,
    require_key: RequireKey = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A name that the server is called by; may be repeated. Needs --require-key.",
            show_default=False,
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Answer HTTP for an app until told to stop: the API, and a page to look at. Workers are other processes."""
    session = Session.of(ctx, url, as_json)
    loaded = app_of(app)
    set_up_logs(log_format)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        from headwater.server.options import ServerOptions
    except ImportError as error:
        raise SettingRefused("headwater serve", str(error), "`pip install headwater[server]` first") from None
    settings = Settings.read()
    options = ServerOptions(
        host=settings.server_host if host is None else host,
        port=settings.server_port if port is None else port,
        require_key=require_key or settings.server_require_key,
        allowed_hosts=tuple(allow_host or settings.server_allow_hosts),
        rate=settings.server_rate,
        max_body=settings.server_max_body,
        metrics_url=settings.worker_metrics_url,
        webhook_secrets=tuple(_secret(one) for one in settings.webhook_secrets),
    )
    run_for_long(_serve(session, loaded, options))


async def _serve(session: Session, app: Headwater, options: ServerOptions) -> None:
    from headwater.server.application import server_registry
    from headwater.server.serve import serve as serve_http

    stop = on_signals()

    def listening(address: str) -> None:
        if session.as_json:
            say_json(
                {
                    "event": "serving",
                    "address": address,
                    "pid": os.getpid(),
                    "app": app.name,
                    "url": session.shown_url,
                }
            )
        else:
            say(plain(f"server of app {app.name} on {session.shown_url} answers at {address}"))
        flush()

    async with session.opened(create=True, registry=server_registry(app)) as log:
        ends = set_up(f"{app.name}-server")
        try:
            await serve_http(app, log, options, stop, listening)
        finally:
            ends()
    if session.as_json:
        say_json({"event": "stopped"})
    else:
        say("the server has stopped")


def _secret(text: str) -> tuple[str, str]:
    """A tenant and its secret, as `TENANT=whsec_...`."""
    tenant, equals, secret = text.partition("=")
    if not tenant or not equals or not secret:
        raise SettingRefused("HEADWATER_WEBHOOK_SECRETS", "not readable", "TENANT=whsec_...,TENANT=whsec_...")
    return tenant, secret

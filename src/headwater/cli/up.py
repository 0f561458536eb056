"""`headwater up`: a server and a worker, as two processes that one command watches."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from headwater.cli.apps import MaybeWhere
from headwater.cli.listening import Host, Port, RequireKey
from headwater.cli.logs import LogFormat, LogFormatOption, set_up_logs
from headwater.cli.output import OUT, flush, plain, say, say_json
from headwater.cli.process import on_signals
from headwater.cli.session import Json, Session, Url
from headwater.cli.supervise import Child, supervise


def up(
    ctx: typer.Context,
    app: MaybeWhere = None,
    *,
    host: Host = None,
    port: Port = None,
    require_key: RequireKey = False,
    processes: Annotated[int, typer.Option("--processes", min=1, metavar="N", help="How many workers.")] = 1,
    log_format: LogFormatOption = LogFormat.TEXT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Serve HTTP and execute runs until told to stop. One Ctrl-C stops both; what dies is started again."""
    session = Session.of(ctx, url, as_json)
    set_up_logs(log_format)
    where = [app] if app is not None else []
    serve = ["serve", *where, "--log-format", log_format.value]
    serve += ["--host", host] if host is not None else []
    serve += ["--port", str(port)] if port is not None else []
    serve += ["--require-key"] if require_key else []
    worker = ["worker", *where, "--processes", str(processes), "--log-format", log_format.value]
    raise typer.Exit(asyncio.run(_up(session, serve, worker)))


async def _up(session: Session, serve: list[str], worker: list[str]) -> int:
    stop = on_signals()
    environment = {"HEADWATER_URL": session.url}
    server = Child("server", serve, environment)

    def tell(child: Child, told: dict[str, Any]) -> None:
        if session.as_json:
            say_json({"process": child.name, **told})
        elif child is server and told.get("event") == "serving":
            say(f"{OUT.paint('Headwater', 'bold')} of app {plain(told['app'])} on {plain(told['url'])}")
            say(f"  look at it   {OUT.paint(told['address'], 'cyan')}")
            say(f"  its API      {told['address']}/api/v1/openapi.json")
        elif told.get("event") in {"serving", "supervising"} and "process" not in told:
            say(f"  metrics      {plain(str(told['metrics']))}")
        flush()

    code = await supervise([server, Child("worker", worker, environment)], stop, tell)
    if not session.as_json:
        say("stopped")
    return code

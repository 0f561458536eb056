"""The command's frame: its groups, its global options, and the one place where every outcome becomes an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from headwater.cli import config, doctor, events, log, migrate, replay, serve, simulate, up, worker
from headwater.cli.access import group as access
from headwater.cli.exits import Exit, explain
from headwater.cli.output import ReaderGone, abandon_stdout, prepare_streams
from headwater.cli.pipeline import group as pipelines
from headwater.cli.projection import group as projections
from headwater.cli.run import group as runs
from headwater.cli.session import Json, Session, Stopped, Url

app = typer.Typer(
    name="headwater",
    help="Run workflows, and look after their log.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 found a problem, 2 wrong usage, 3 refused, 4 storage trouble, 130 interrupted.",
)
app.command("migrate")(migrate.migrate)
app.command("doctor")(doctor.doctor)
app.command("worker")(worker.worker)
app.command("serve")(serve.serve)
app.command("up")(up.up)
app.command("replay")(replay.replay)
app.command("simulate")(simulate.simulate)
app.add_typer(runs.app, name="run")
app.add_typer(projections.app, name="projection")
app.add_typer(pipelines.app, name="pipeline")
app.add_typer(access.keys, name="key")
app.add_typer(access.tenants, name="tenant")
app.add_typer(log.app, name="log")
app.add_typer(events.app, name="events")
app.add_typer(config.app, name="config")


def _version(asked: bool) -> None:  # noqa: FBT001  (the shape that typer calls)
    if asked:
        from importlib.metadata import version

        typer.echo(version("headwater"))
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    url: Url = None,
    as_json: Json = False,
    version: Annotated[  # noqa: ARG001  (its callback does it)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Session(url, as_json=as_json)


def main() -> None:
    """The entry point of the `headwater` command."""
    prepare_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code = app(list(arguments), prog_name="headwater", standalone_mode=False)
        sys.stdout.flush()
    except (ReaderGone, BrokenPipeError):
        abandon_stdout()
        return Exit.READER_GONE
    except Stopped:
        return Exit.STOPPED
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001  (what is not known is told with its traceback)
        return explain(error, as_json="--json" in arguments)
    return code if isinstance(code, int) else Exit.OK

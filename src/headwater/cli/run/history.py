"""`headwater run history`, `tail` and `export`: the events of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.files import STANDARD, target
from headwater.cli.output import ReaderGone, flush, plain, say, say_json
from headwater.cli.run.arguments import RunId, Tenant
from headwater.cli.run.lines import Lines
from headwater.cli.session import Json, Session, Url
from headwater.cli.session import run as run_
from headwater.errors import RunNotFound
from headwater.events.envelope import Recorded
from headwater.log.log import Log
from headwater.log.plain import event_json
from headwater.runs.history_file import history_line
from headwater.runs.protocol import run_event
from headwater.runs.reading import RunEnd
from headwater.runs.rows import DEFAULT_TENANT, STREAM_TYPE
from headwater.runs.store import Runs

WithData = Annotated[bool, typer.Option("--data", help="Print the payloads too.")]


def history(
    ctx: typer.Context,
    run: RunId,
    *,
    data: WithData = False,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the events of a run, one a line."""
    session = Session.of(ctx, url, as_json)
    run_(_history(session, run, tenant, data=data))


def tail(
    ctx: typer.Context,
    run: RunId,
    *,
    data: WithData = False,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the events of a run as they come, until it has ended."""
    session = Session.of(ctx, url, as_json)
    run_(_tail(session, run, tenant, data=data))


def export(
    ctx: typer.Context,
    run: RunId,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Compressed when it ends in .gz; - is standard output.")
    ] = STANDARD,
    *,
    tenant: Tenant = DEFAULT_TENANT,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write the history of a run as JSON Lines, which `headwater replay` reads."""
    session = Session.of(ctx, url, as_json)
    try:
        count = run_(_export(session, run, tenant, file))
    except BrokenPipeError:
        raise ReaderGone from None
    if file == STANDARD:
        return
    if session.as_json:
        say_json({"run": run, "file": file, "events": count})
    else:
        say(f"exported {count:,} events of run {plain(run)} to {file}")


async def _history(session: Session, run: str, tenant: str, *, data: bool) -> None:
    async with session.opened() as log:
        printer = Printer(session, log, data=data)
        async for recorded in Runs(log).events(run, tenant):
            printer.print(recorded)
        if not printer.last:
            raise RunNotFound(run, tenant)


async def _tail(session: Session, run: str, tenant: str, *, data: bool) -> None:
    async with session.opened() as log:
        runs, printer = Runs(log), Printer(session, log, data=data)
        behind = await log.head()
        async for recorded in runs.events(run, tenant):
            printer.print(recorded)
        flush()
        if not printer.last:
            raise RunNotFound(run, tenant)
        if printer.has_ended():
            return
        async for page in log.pages(behind, follow=True, tenant=tenant, stream_types=(STREAM_TYPE,)):
            for recorded in page.events:
                if recorded.stream.id == run and recorded.version > printer.last:
                    printer.print(recorded)
            flush()
            if printer.has_ended():
                return


async def _export(session: Session, run: str, tenant: str, file: str) -> int:
    async with session.opened() as log:
        runs = Runs(log)
        await runs.spec(run, tenant)  # is there, and can be read
        count = 0
        with target(file) as write:
            async for recorded in runs.events(run, tenant):
                write(history_line(recorded).encode() + b"\n")
                count += 1
        return count


class Printer:
    """Prints events of one run, and remembers how far it is."""

    def __init__(self, session: Session, log: Log, *, data: bool) -> None:
        self._session, self._log = session, log
        self._lines = Lines(data=data)
        self.last = 0
        self._ended = False

    def has_ended(self) -> bool:
        """Whether the run's end was printed."""
        return self._ended

    def print(self, recorded: Recorded) -> None:
        self.last = recorded.version
        event = run_event(recorded)
        self._ended = self._ended or isinstance(event, RunEnd)
        if self._session.as_json:
            say_json(event_json(self._log, recorded))
        else:
            say(self._lines.line(recorded.version, event, recorded.recorded_at))

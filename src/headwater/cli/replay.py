"""`headwater replay`: recorded histories against the code at hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.app import Headwater
from headwater.cli.apps import app_of
from headwater.cli.exits import Exit, NotThere
from headwater.cli.files import STANDARD, source
from headwater.cli.output import OUT, Colour, plain, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.runs.history_file import History, fact_of, read_histories
from headwater.runs.machines import UNFINISHED
from headwater.runs.rows import DEFAULT_TENANT
from headwater.runs.store import Runs

if TYPE_CHECKING:
    from headwater.workflows.replay import Verdict

_COLOURS: dict[str, Colour] = {"ok": "green", "diverged": "red", "stuck": "yellow"}
_PAGE = 100


def replay(
    ctx: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[FILE|RUN]... MODULE:APP",
            help="What `run export` wrote (- is standard input), or runs of the log; then the app.",
        ),
    ],
    *,
    every: Annotated[bool, typer.Option("--all", help="Every run of the log that has not ended.")] = False,
    any_input: Annotated[
        bool, typer.Option("--any-input", help="Do not compare the inputs of steps.")
    ] = False,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The tenant of the runs.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check recorded runs against the code at hand. Nothing is executed, nothing is written.

    Exit code 1 when a run diverges, or the code cannot go on with it.
    """
    session = Session.of(ctx, url, as_json)
    *named, app = what
    if every == bool(named):
        raise typer.BadParameter("Name files or runs before MODULE:APP, or give --all instead of them.")
    verdicts = run(_replay(session, app_of(app), named, tenant, inputs=not any_input))
    bad = sum(verdict.result != "ok" for verdict in verdicts)
    if not session.as_json:
        say(f"{len(verdicts)} runs: {len(verdicts) - bad} ok, {bad} not")
    raise typer.Exit(Exit.PROBLEM if bad else Exit.OK)


async def _replay(
    session: Session, app: Headwater, named: Sequence[str], tenant: str | None, *, inputs: bool
) -> list[Verdict]:
    found: list[Verdict] = []
    async for history in _histories(session, named, tenant):
        verdict = await _verdict(app, history, inputs=inputs)
        _say(session, verdict)
        found.append(verdict)
    return found


async def _verdict(app: Headwater, history: History, *, inputs: bool) -> Verdict:
    """One replay, as a callback of the loop: a workflow's tasks cannot run inside another task."""
    from headwater.workflows.replay import replay as replay_

    done: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def work() -> None:
        try:
            with redirect_stdout(sys.stderr):  # what the code prints is not the answer
                done.set_result(replay_(app.workflows, history, inputs=inputs))
        except BaseException as error:  # noqa: BLE001  a defect, raised where it is awaited
            done.set_exception(error)

    asyncio.get_running_loop().call_soon(work)
    return await done


async def _histories(session: Session, named: Sequence[str], tenant: str | None) -> AsyncIterator[History]:
    for history in _in_files([name for name in named if _is_file(name)]):
        yield history
    runs = [(name, tenant or DEFAULT_TENANT) for name in named if not _is_file(name)]
    if named and not runs:
        return
    async with session.opened() as log:
        reader = Runs(log)
        if not named:
            runs = [place async for place in _open_runs(reader, tenant)]
        for name, of in runs:
            facts = [fact_of(recorded) async for recorded in reader.events(name, of)]
            if not facts:
                raise NotThere(
                    f"There is neither a file {name!r} here nor a run of that id in {session.shown_url}."
                )
            yield History(name, of, facts)


def _in_files(files: Sequence[str]) -> Iterator[History]:
    for file in files:
        with source(file) as lines:
            yield from read_histories(lines)


async def _open_runs(reader: Runs, tenant: str | None) -> AsyncIterator[tuple[str, str]]:
    """The runs that have not ended."""
    before: tuple[int, str] | None = None
    while True:
        page = await reader.list(tenant, status=sorted(UNFINISHED), before=before, limit=_PAGE)
        for summary in page:
            yield summary.run, summary.tenant
        if len(page) < _PAGE:
            return
        before = page[-1].place


def _is_file(name: str) -> bool:
    return name == STANDARD or Path(name).is_file()


def _say(session: Session, verdict: Verdict) -> None:
    if session.as_json:
        say_json(asdict(verdict))
        return
    mark = OUT.paint(f"{verdict.result:<8}", _COLOURS[verdict.result])
    say(f"{mark} {plain(verdict.run)}  {plain(verdict.workflow)}  {verdict.events} events")
    if verdict.message:
        say(f"{'':<8} at event {verdict.version}: {plain(verdict.message)}")

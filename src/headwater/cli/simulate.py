"""`headwater simulate`: the real log, and the real engine, in worlds that fail, many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headwater.cli.output import OUT, plain_lines, say, say_json
from headwater.cli.progress import progress
from headwater.cli.session import Json, Session

if TYPE_CHECKING:
    from headwater.testing.simulation.sweep import Swept
    from headwater.testing.simulation.world import Setup

_SEEDS = 100


class Mode(StrEnum):
    FIFO = "fifo"
    SHUFFLED = "shuffled"


class Work(StrEnum):
    LOG = "log"
    RUNS = "runs"
    PROJECTIONS = "projections"
    REACTORS = "reactors"


class Storage(StrEnum):
    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRES = "postgres"


def simulate(
    ctx: typer.Context,
    *,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many seeds.", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.01, help="Stop after so many minutes.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="One seed only, to see a failure again.", show_default=False)
    ] = None,
    start: Annotated[int, typer.Option("--start", help="The first seed.")] = 0,
    mode: Annotated[Mode | None, typer.Option("--mode", help="One mode only.", show_default=False)] = None,
    workload: Annotated[
        Work,
        typer.Option(
            "--workload",
            help="What is done there: the log alone, runs of workflows, projections, or reactors.",
        ),
    ] = Work.LOG,
    storage: Annotated[Storage, typer.Option("--storage", help="Where the log lies.")] = Storage.MEMORY,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="For postgres: a migrated database, as its owner. It is emptied.",
            show_default=False,
        ),
    ] = None,
    mutant: Annotated[
        str | None, typer.Option("--mutant", metavar="NAME", help="Plant a known bug.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the real log, or the real engine on it, in simulated worlds that fail. Exit code 1 when a promise was broken.

    Without --seeds and --minutes, 100 seeds; with --minutes alone, as many as there is time for.
    """
    from headwater.testing.simulation.run import mutants_of
    from headwater.testing.simulation.sweep import sweep

    mutants = mutants_of(workload.value)
    if mutant is not None and mutant not in mutants:
        raise typer.BadParameter(f"There is no mutant {mutant!r}; there are {', '.join(mutants)}.")
    session = Session.of(ctx, url, as_json)
    database = _database(session, storage, jobs)
    many = seeds or (None if minutes else _SEEDS)
    wanted = [seed] if seed is not None else (range(start, start + many) if many else count(start))
    with progress("simulating") as advance:
        total = 0 if many is None else many * (1 if mode or seed is not None else 2)
        swept = sweep(
            _setups(wanted, mode, storage, database, workload, one=seed is not None),
            mutant=mutant,
            minutes=minutes,
            jobs=1 if seed is not None else jobs,
            progress=lambda so_far: advance(so_far.simulations, total),
        )
    _report(session, swept)
    raise typer.Exit(1 if swept.failures else 0)


def _database(session: Session, storage: Storage, jobs: int) -> str | None:
    """The address to simulate at. It is emptied, so one from the environment will not do."""
    if storage is not Storage.POSTGRES:
        if session.given:
            raise typer.BadParameter(
                "Only --storage postgres has an address; the others make their own place."
            )
        return None
    if not (session.given or "").startswith(("postgresql://", "postgres://")):
        raise typer.BadParameter(
            "--storage postgres writes to a database and empties it: name one of its own with --url"
            " postgresql://OWNER@HOST/DATABASE, made with `headwater migrate`."
        )
    if jobs > 1:
        raise typer.BadParameter("--storage postgres lives through one world at a time: leave out --jobs.")
    return session.given


def _setups(
    seeds: Iterable[int], mode: Mode | None, storage: Storage, url: str | None, workload: Work, *, one: bool
) -> Iterator[Setup]:
    """Each seed in both modes, unless one is named."""
    from headwater.testing.simulation.world import Setup

    both: tuple[Literal["fifo", "shuffled"], ...] = ("fifo",) if one else ("fifo", "shuffled")
    for seed in seeds:
        for each in (mode.value,) if mode else both:
            yield Setup(seed, each, storage.value, url, workload.value)


def _report(session: Session, swept: Swept) -> None:
    if session.as_json:
        say_json(
            {
                "ok": not swept.failures,
                "simulations": swept.simulations,
                "simulations_per_second": round(swept.per_second, 2),
                "virtual_hours": round(swept.virtual_seconds / 3600, 3),
                "failures": [
                    {
                        "seed": failed.setup.seed,
                        "mode": failed.setup.mode,
                        "storage": failed.setup.storage,
                        "invariant": failed.invariant,
                        "message": failed.what,
                        "command": failed.command,
                        "faults": list(failed.faults),
                        "fingerprint": failed.fingerprint,
                        "report": failed.report,
                    }
                    for failed in swept.failures
                ],
            }
        )
        return
    for failed in swept.failures:
        say(f"{OUT.paint('failed', 'red')}: {plain_lines(failed.report)}\n")
    mark = OUT.paint("failed", "red") if swept.failures else OUT.paint("ok", "green")
    say(
        f"{mark}: {swept.simulations:,} worlds, {len(swept.failures)} failed; "
        f"{swept.virtual_seconds / 3600:.1f} virtual hours in {swept.seconds:.0f} s "
        f"({swept.per_second:.1f} worlds a second)"
    )

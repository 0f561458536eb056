"""`headwater simulate`: the real log in worlds that fail, many of them."""

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


class Storage(StrEnum):
    MEMORY = "memory"
    SQLITE = "sqlite"


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
    storage: Annotated[Storage, typer.Option("--storage", help="Where the log lies.")] = Storage.MEMORY,
    mutant: Annotated[
        str | None, typer.Option("--mutant", metavar="NAME", help="Plant a known bug.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the real log in simulated worlds that fail. Exit code 1 when a promise was broken.

    Without --seeds and --minutes, 100 seeds; with --minutes alone, as many as there is time for.
    """
    from headwater.testing.simulation.mutants import MUTANTS
    from headwater.testing.simulation.sweep import sweep

    if mutant is not None and mutant not in MUTANTS:
        raise typer.BadParameter(f"There is no mutant {mutant!r}; there are {', '.join(MUTANTS)}.")
    session = Session.of(ctx, None, as_json)
    many = seeds or (None if minutes else _SEEDS)
    wanted = [seed] if seed is not None else (range(start, start + many) if many else count(start))
    with progress("simulating") as advance:
        total = 0 if many is None else many * (1 if mode or seed is not None else 2)
        swept = sweep(
            _setups(wanted, mode, storage, one=seed is not None),
            mutant=mutant,
            minutes=minutes,
            jobs=1 if seed is not None else jobs,
            progress=lambda so_far: advance(so_far.simulations, total),
        )
    _report(session, swept)
    raise typer.Exit(1 if swept.failures else 0)


def _setups(seeds: Iterable[int], mode: Mode | None, storage: Storage, *, one: bool) -> Iterator[Setup]:
    """Each seed in both modes, unless one is named."""
    from headwater.testing.simulation.world import Setup

    both: tuple[Literal["fifo", "shuffled"], ...] = ("fifo",) if one else ("fifo", "shuffled")
    for seed in seeds:
        for each in (mode.value,) if mode else both:
            yield Setup(seed, each, storage.value)


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

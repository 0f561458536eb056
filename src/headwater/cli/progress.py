"""Progress bars: on stderr, on a terminal, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from headwater.cli.output import ERRORS


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None]]:
    """Gives a function that is told how far the work is, and how far it goes."""
    if not ERRORS.on_terminal:
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""What a backend brings, so that its process can be killed at every point: see `sqlite` and `postgres`.

A stage is made in a child process, by the name of its class, from plain values. It is made anew for every life.
"""

from __future__ import annotations

from typing import Any, Protocol

from headwater.log.port import Backend
from headwater.testing.crash_points.points import Points


class Stage(Protocol):
    """Where the scene is played: a log, the empty log that it is imported into, and a table of the program's."""

    table: str | None
    """The statement that makes the program's table, unless it is there before the scene begins."""
    note: str
    """The statement that adds a note; its one parameter is the text."""

    def clear(self) -> None:
        """Have nothing there: no log, no notes."""
        ...

    def tap(self, points: Points) -> None:
        """From now on, `points` is told before and after everything that reaches the storage."""
        ...

    def backend(self, name: str) -> Backend:
        """The backend of the log `main` or `copy`."""
        ...

    async def notes(self) -> list[str]:
        """The program's table."""
        ...

    def leftovers(self) -> list[str]:
        """What is there and should not be, when every log is closed."""
        ...


def load(name: str) -> Any:
    """What `module:name` names."""
    from importlib import import_module

    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)

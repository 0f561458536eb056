"""The places where a process can die, numbered in the order in which it passes them.

The numbers of one run are those of another, because nothing in a scene depends on time or chance. Each run can prove
it: it leaves the names of the points it passed, and one that died leaves the name of its last.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


def _nothing() -> None:
    pass


class Points:
    """Counts the points that this process passes, and kills it at one of them."""

    def __init__(self, report: Path, *, die_at: int = 0) -> None:
        self.names: list[str] = []
        self.act = ""
        """What the scene is doing; part of the names."""
        self.last_wish: Callable[[], None] = _nothing
        """Done just before death: what else is lost with the machine's power."""
        self._report, self._die_at = report, die_at

    def reach(self, name: str) -> None:
        """Pass a point, or die there."""
        self.names.append(f"{self.act}: {name}")
        if len(self.names) == self._die_at:
            self.leave()
            self.last_wish()
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, name: str) -> Generator[None]:
        """A point before and one after; none after what failed."""
        self.reach(f"before {name}")
        yield
        self.reach(f"after {name}")

    def leave(self) -> None:
        """Write down what was passed."""
        self._report.write_text(json.dumps(self.names), encoding="utf-8")

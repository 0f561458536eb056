"""What the contract suite must be told of a backend: how to reach it, and what can be done to it.

A `Site` is the place of one empty log. `backend` and `fresh` are all that every backend has to give; the rest are
abilities, by which a test reaches into the world around the log. A backend that cannot have one says so in `lacks`,
with the reason, and the tests that need it are skipped with that reason; an ability that is neither given nor declared
lacking fails them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, ClassVar, Literal

from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.log.port import Backend
from headwater.testing.contract.facts import Noted

Ability = Literal["clock", "processes", "network", "sql", "hold", "elsewhere", "snapshot", "states"]


class Site(ABC):
    """The place of one log."""

    name: ClassVar[str]
    lacks: ClassVar[Mapping[Ability, str]] = {}

    @abstractmethod
    def backend(self) -> Backend:
        """One more handle on this log, not yet opened, as another process would make it."""

    @abstractmethod
    def fresh(self) -> Site:
        """The place of another, empty log of the same kind. Whoever made this site removes that one too."""

    def open(self, backend: Backend | None = None, **more: Any) -> Log:
        """A log on a new handle (or on the given one), to use in `async with`."""
        return Log(backend or self.backend(), Registry(Noted), **more)

    def jump(self, by: timedelta) -> None:
        """`clock`: move the clock from which the log takes `recorded_at`, forward or back, for all handles."""
        raise NotImplementedError(f"{self.name} must give `jump`, or declare that it lacks 'clock'")

    def code(self) -> str:
        """`processes`: Python code that sets `backend` to a new handle, when it is run in another process."""
        raise NotImplementedError(f"{self.name} must give `code`, or declare that it lacks 'processes'")

    def address(self) -> tuple[str, int]:
        """`network`: where the log's server listens."""
        raise NotImplementedError(f"{self.name} must give `address`, or declare that it lacks 'network'")

    def backend_at(self, host: str, port: int) -> Backend:
        """`network`: a new handle that reaches the server at another address (a proxy before it)."""
        raise NotImplementedError(f"{self.name} must give `backend_at`, or declare that it lacks 'network'")

    def note(self, text: str) -> str:
        """`sql`: a statement that puts a text into a table of the program, in the log's database."""
        raise NotImplementedError(f"{self.name} must give `note`, or declare that it lacks 'sql'")

    async def notes(self) -> list[str]:
        """`sql`: the texts in the program's table, as another connection sees them."""
        raise NotImplementedError(f"{self.name} must give `notes`, or declare that it lacks 'sql'")

    def hold(self, fence: str, *, claim: bool = False) -> AbstractAsyncContextManager[None]:
        """`hold`: an open transaction that stops appends with this fence in the middle, until it is left.

        With `claim`, it has raised the fence's epoch, and commits that when it is left: a claim under way.
        """
        raise NotImplementedError(f"{self.name} must give `hold`, or declare that it lacks 'hold'")

    def idle_elsewhere(self) -> AbstractAsyncContextManager[None]:
        """`elsewhere`: a transaction that has written and idles, in another database of the same server."""
        raise NotImplementedError(f"{self.name} must give `idle_elsewhere`, or declare it lacking")

    def old_snapshot(self) -> AbstractAsyncContextManager[None]:
        """`snapshot`: a reader on the log's database that keeps the snapshot which it took on entry."""
        raise NotImplementedError(
            f"{self.name} must give `old_snapshot`, or declare that it lacks 'snapshot'"
        )

"""The port of a store: where states are kept, and the checkpoint that moves with them.

What a store promises:

- `save` writes states and moves the checkpoint in one transaction, and only if epoch and position are still those that
  the caller read. So whoever folds a batch twice, or beside another, writes once; the other gets `CheckpointMoved`, and
  reads again. This alone makes effects exactly once: the lease only keeps two from doing the same work.
- `take` gives a generation to one holder at a time, by the store's clock; another holder means another epoch. Requests
  (`pause`, `request`) raise the epoch too, so that whoever folds comes to look before its next write counts.
- A generation is a set of states under construction or in use. `swap` puts one in the place of the live one, if it is
  at least as far, and drops the other, in one transaction.

- A state may also be put by the append whose events it ends with (`log.side.PutState`), which knows nothing of
  checkpoints. `save` leaves one alone that is newer than its own, unless the key was asked to be folded again.

A parked key keeps the state before the event that it failed at. Later events of the key are not stored anywhere: they
are in the log. A redrive reads them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

NOT_ASKED: Final = 0
GO_ON: Final = 1
FROM_START: Final = 2
LATER: Final = 3
"""A reactor's key that waits for its next try: nobody asked, and it comes before those that are given up."""
ELSEWHERE: Final = "@"
"""In the name of a checkpoint: it is here, and its states are in another store, which is asked for it."""
_LONGEST: Final = 500


class Key(NamedTuple):
    """Whose state."""

    tenant: str
    key: str


class StateRow(NamedTuple):
    """A state, and the position of the last event in it.

    `parked` is the position of the event that the key failed at, or 0. `again` asks for the key to be folded again.
    """

    tenant: str
    key: str
    position: int
    state: bytes | None
    parked: int = 0
    error: str = ""
    again: int = NOT_ASKED

    @property
    def asked(self) -> bool:
        """Whether somebody asked for it to be folded again."""
        return self.again in {GO_ON, FROM_START}


class Checkpoint(NamedTuple):
    """How far a generation is, who folds it, and which version of the fold made it."""

    name: str
    generation: int
    version: int
    live: bool
    paused: bool
    position: int
    epoch: int
    holder: str


class CheckpointRepository(Protocol):
    """Checkpoints by name: what makes projecting and rebuilding resumable."""

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        """All generations, of one projection or of all, by name and generation."""
        ...

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        """Begin a generation at position 0; one that is there stays as it is."""
        ...

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        """Take or keep the lease; None while another holds it, or if there is no such generation."""
        ...

    async def release(self, name: str, generation: int, holder: str) -> None:
        """Let others take it now."""
        ...

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Have the live generation stand still, or go on; whether there is one."""
        ...

    async def swap(self, at: Checkpoint) -> bool:
        """Make a generation the live one, and drop the others; False if it is behind, or is not at `at`."""
        ...

    async def drop(self, name: str, generation: int) -> None:
        """Forget a generation that is not live."""
        ...


class Store(CheckpointRepository, Protocol):
    """Where a projection's states are."""

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> Mapping[Key, StateRow]:
        """The states of these keys, as far as there are any."""
        ...

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        """Write states and move the checkpoint; `CheckpointMoved` if it is not where `at` says."""
        ...

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        """States in the order of tenant and key."""
        ...

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        """Keys that are to be folded again, then those that are parked; each in the order of tenant and key."""
        ...

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        """Ask for keys of the live generation to be folded again: how many.

        `GO_ON` asks it of parked keys, `FROM_START` of any.
        """
        ...


def said(error: Exception) -> str:
    """An error as a row keeps it: short, and without what a database does not take."""
    text = f"{type(error).__name__}: {error}"[:_LONGEST]
    return text.replace("\x00", "\\x00").encode("utf-8", "replace").decode()

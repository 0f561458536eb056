"""Who owns what: workers with a lease, the fences they hold, and the ready rows they have claimed.

A backend keeps these promises, each in one statement that never takes the shard's lock:

- A fence or a ready row is claimed by one worker at a time. Claiming raises the fence's epoch (the ready row's claim),
  so that whoever held it before is refused by every later append that names the old one. It skips what others are
  claiming, and gives nothing to a worker that is not enrolled (any more).
- A worker's lease is judged by the database's clock, and only by `sweep`: until a sweep has taken what a worker holds,
  that worker still owns it, however late it is.
- `sweep` frees, in one transaction, all that is held by workers which are dead, expired or unknown. A freed fence is
  raised and woken, so that the old holder is refused and the next one looks at it. What was held by the dead becomes
  *suspect*: it may be what killed them, and is taken in groups of half the size each time, at last alone.
- A wake mark is never lost: `take` and `woken` say how many marks there are, and `release` lets go only if there have
  been no more since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class WorkerRow(NamedTuple):
    """A worker that is enrolled. Times are microseconds of the database's clock; `data` is what it says of itself."""

    id: str
    place: str
    lease_us: int
    data: bytes
    enrolled_at: int = 0
    beat_at: int = 0


class Taken(NamedTuple):
    """A fence that was claimed. `trial` is 0, or the size of the group in which a suspect is to be taken next."""

    tenant: str
    key: str
    label: str
    epoch: int
    wakes: int
    trial: int
    deaths: int


class Woken(NamedTuple):
    """A fence with new wake marks."""

    tenant: str
    key: str
    epoch: int
    wakes: int


class HeldReady(NamedTuple):
    """A ready row that a worker holds."""

    tenant: str
    queue: str
    key: str
    claim: int


class TakenReady(NamedTuple):
    """A ready row that was claimed."""

    tenant: str
    queue: str
    key: str
    claim: int
    at: int
    data: bytes


class EntryRow(NamedTuple):
    """What a list shows of one thing. `at` is the time of its first entry."""

    tenant: str
    list: str
    key: str
    label: str
    status: str
    at: int
    data: bytes


class Swept(NamedTuple):
    """What a sweep has freed, and the workers it has removed."""

    workers: Sequence[str]
    fences: int
    ready: int


class Ownership(Protocol):
    """The part of a backend that says who owns what."""

    async def enrol(self, worker: WorkerRow) -> None:
        """Make a worker known, its lease beginning now."""
        ...

    async def beat(self, worker: str, data: bytes) -> int | None:
        """Renew a lease: the database's time; None when the worker was swept away."""
        ...

    async def workers(self) -> Sequence[WorkerRow]:
        """All that are enrolled, by id."""
        ...

    async def held(self) -> Mapping[str, int]:
        """How many fences each worker holds; those that hold none are left out."""
        ...

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        """Free what is held by the `dead`, the expired and the unknown; and by those who `left`, without suspicion.

        A freed fence: epoch + 1, no holder, one more wake. Of the fences that one worker's death frees, n in number,
        each has a `trial` of half the smaller of n and its own trial before (rounded up, at least 1), and one more
        death if its trial was 1 already; those of the unknown and of who left are not suspected. A freed ready row
        has no holder and keeps its claim.
        """
        ...

    async def take(
        self,
        holder: str,
        labels: Sequence[str],
        limit: int,
        *,
        suspects: bool = False,
        without: Sequence[str] = (),
    ) -> Sequence[Taken]:
        """Claim fences that nobody holds and that have unseen wakes, the longest waiting first.

        Those of the tenants `without` are passed over, which may cost a look at each. Without `suspects`, those with
        trial 0. With it, only suspects: at most as many as the trial of the first one, all of that same trial.
        """
        ...

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        """The fences that a worker holds and that have unseen wakes, which count as seen from now on."""
        ...

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        """Claim rows that are due and that nobody holds: for each queue at most so many, in the queue's order."""
        ...

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        """The ready rows that a worker holds, with its claims."""
        ...

    async def entries(
        self,
        tenant: str | None,
        list: str,
        *,
        label: str | None = None,
        statuses: Sequence[str] = (),
        keys: Sequence[str] = (),
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> Sequence[EntryRow]:
        """Entries of a list, newest first, those after the place `before` (time, key) of an earlier page."""
        ...

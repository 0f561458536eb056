"""What the log told the programs of a simulation: answers, refusals, claims, reads, deliveries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from headwater.errors import HeadwaterError
from headwater.events.envelope import Recorded
from headwater.log.group import Pending
from headwater.log.write import Appended, Write
from headwater.testing.invariants import Acknowledged, InvariantBroken
from headwater.testing.simulation.wire import Attempts
from headwater.testing.simulation.workload import Node


class Read(NamedTuple):
    """A read of the whole log that began at a moment."""

    asked: int
    chains: list[bytes]


class Claim(NamedTuple):
    """A fence raised for somebody who then saw the log's head."""

    tenant: str
    key: str
    epoch: int
    head: int


class Unheard(NamedTuple):
    """A call that nobody waits for any more."""

    node: Node
    key: str
    refusals: int


@dataclass(eq=False, slots=True)
class Follower:
    """A subscription with a cursor that it keeps across crashes."""

    name: str
    filters: dict[str, Any]
    delivered: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    kept: int = 0
    cursor: str | None = None

    def restart(self) -> None:
        del self.delivered[self.kept :]

    def keep(self, cursor: str) -> None:
        self.cursor, self.kept = cursor, len(self.delivered)

    def hear(self, event: Recorded) -> None:
        last = self.delivered[-1][0] if self.delivered else 0
        if event.position <= last or (not self.filters and event.position != last + 1):
            raise InvariantBroken(
                "I6", "a reader skips, repeats or reorders", reader=self.name, after=last, got=event.position
            )
        self.delivered.append((event.position, event.chain))

    @property
    def position(self) -> int:
        return self.delivered[-1][0] if self.delivered else 0


@dataclass(eq=False, slots=True)
class History:
    """Filled in as the programs hear it; a process that crashes before it hears has heard nothing."""

    moment: Callable[[], int]
    attempts: Attempts
    acknowledged: list[Acknowledged] = field(default_factory=list[Acknowledged])
    refused: dict[UUID, str] = field(default_factory=dict[UUID, str])
    claims: list[Claim] = field(default_factory=list[Claim])
    reads: list[Read] = field(default_factory=list[Read])
    cancelled: list[Unheard] = field(default_factory=list[Unheard])
    handed_in: list[tuple[Node, Pending]] = field(default_factory=list[tuple[Node, Pending]])
    followers: list[Follower] = field(default_factory=list[Follower])
    sent_again: set[str] = field(default_factory=set[str])
    """Calls that a program handed in once more, and so behind later ones."""
    highest: int = 0
    _at: dict[int, UUID] = field(default_factory=dict[int, UUID])

    def accept(self, asked: int, writes: Sequence[Write], appended: Sequence[Appended]) -> None:
        """The log said that these writes are in it."""
        answered = self.moment()
        for write, place in zip(writes, appended, strict=True):
            self._check_versions(write, place)
            entries = zip(ids_of([write]), place.positions, place.versions, place.known, strict=True)
            for id, position, version, known in entries:
                if self._at.setdefault(position, id) != id:
                    raise InvariantBroken("I2", "two events got one position", position=position, id=id)
                if id in self.refused:
                    raise InvariantBroken("refused", f"refused with {self.refused[id]}, and accepted", id=id)
                self.acknowledged.append(
                    Acknowledged(write.stream.tenant, id, position, version, asked, answered, known)
                )
                self.highest = max(self.highest, position)

    def refuse(self, writes: Sequence[Write], error: HeadwaterError) -> None:
        """The log said that nothing of these writes is in it."""
        ids = ids_of(writes)
        if not self.attempts.under_way(
            ids
        ):  # else an attempt of a process that died may still be carried out
            self.refused.update(dict.fromkeys(ids, error.code))

    def forgive(self, ids: Sequence[UUID]) -> None:
        """What was refused is tried again."""
        for id in ids:
            self.refused.pop(id, None)

    def _check_versions(self, write: Write, place: Appended) -> None:
        new = [v for v, known in zip(place.versions, place.known, strict=True) if not known]
        if new and write.expect >= 0 and new[0] != write.expect + 1:
            raise InvariantBroken("I3", "an expectation did not hold", expected=write.expect, version=new[0])


def ids_of(writes: Sequence[Write]) -> list[UUID]:
    return [row.event_id for write in writes if write.prepared for row in write.prepared[0].rows]

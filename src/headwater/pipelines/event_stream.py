"""The events of one aggregate, in order, each with its envelope: what a handler of a whole stream is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class EventStream(Generic[E]):
    """Iterating gives the events; `recorded` has them with their versions, times, actors and metadata."""

    stream: Stream
    recorded: Sequence[Recorded]

    def __iter__(self) -> Iterator[E]:
        return (cast("E", one.event) for one in self.recorded)

    def __len__(self) -> int:
        return len(self.recorded)

    @property
    def version(self) -> int:
        """The version of the last event; 0 when there is none."""
        return self.recorded[-1].version if self.recorded else 0

"""Windows by event time: a key for each stretch of time in which events happened.

    per_hour = Projection("sales", ..., key=Windowed(timedelta(hours=1)))
    await states.state(per_hour.key.of("order/o-1", moment))

Windows lie side by side from the start of 1970 in UTC. An event belongs to the window of its own time, however late it
comes: no window is ever closed, since a state can always be folded on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from headwater.errors import DeclarationRefused
from headwater.events.envelope import Recorded
from headwater.projections.projection import by_stream

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def occurred_at(recorded: Recorded) -> datetime:
    """When an event happened, as its writer said."""
    return recorded.occurred_at


@dataclass(frozen=True)
class Windowed:
    """A projection's `key`: another key, in the window of length `size` that holds the event's time."""

    size: timedelta
    key: Callable[[Recorded], str | None] = by_stream
    at: Callable[[Recorded], datetime] = occurred_at

    def __post_init__(self) -> None:
        if self.size <= timedelta(0):
            raise DeclarationRefused(f"A window of {self.size} holds nothing. Give it a length.")

    def __call__(self, recorded: Recorded) -> str | None:
        key = self.key(recorded)
        return None if key is None else self.of(key, self.at(recorded))

    def of(self, key: str, moment: datetime) -> str:
        """The key of the window that holds a moment: `key@2026-03-01T12:00:00Z`, its beginning."""
        if moment.tzinfo is None:
            raise DeclarationRefused(f"{moment!r} has no zone, so it is in no window. Give it one.")
        begin = moment - (moment - _EPOCH) % self.size
        return f"{key}@{begin.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"

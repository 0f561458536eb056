"""What a caller asks of the log: writes, and what they expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from headwater.errors import PayloadRefused
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.model import Event
from headwater.log.port import PreparedWrite
from headwater.log.side import Fence, SideRow

ANY: Final = -1
NO_STREAM: Final = 0


class Write:
    """Events for one stream, what is expected of it, and the side rows that go with them.

    `expect` is `ANY`, `NO_STREAM`, a version, or a `Fence`. With `known="skip"`, events whose ids are in the log
    already are reported and the others written. A write keeps the ids and bytes that its first append gave it, so
    appending the same write again, after whatever happened, writes once.
    """

    __slots__ = ("events", "expect", "known", "prepared", "rows", "stream")

    def __init__(
        self,
        stream: Stream,
        events: Sequence[Event | RawEvent | NewEvent] = (),
        *,
        expect: int | Fence = ANY,
        rows: Sequence[SideRow] = (),
        known: Literal["refuse", "skip"] = "refuse",
    ) -> None:
        version, fence = (ANY, (expect,)) if isinstance(expect, Fence) else (expect, ())
        if version < ANY:
            raise PayloadRefused(
                f"expect={expect} is no version. Use ANY, NO_STREAM, a version from 1, or a Fence."
            )
        self.stream = stream
        self.events = tuple(events)
        self.expect = version
        self.rows: tuple[SideRow, ...] = (*fence, *rows)
        self.known = known
        self.prepared: tuple[PreparedWrite, list[tuple[bytes, bytes]]] | None = None


class Appended(NamedTuple):
    """Where the events of one write are: one entry an event, in order. `recorded_at` (microseconds) is of new ones."""

    stream: Stream
    versions: tuple[int, ...]
    positions: tuple[int, ...]
    known: tuple[bool, ...]
    recorded_at: int = 0

    @property
    def version(self) -> int:
        """The last event's version; 0 when the write had no events."""
        return self.versions[-1] if self.versions else 0

    @property
    def position(self) -> int:
        return self.positions[-1] if self.positions else 0

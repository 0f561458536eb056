"""Calls that a simulated program makes of a log, drawn by chance.

Each event says what its call was: its key, its place in the call, what the call expected and what it did to side rows.
So the log itself tells what must be true of everything beside it, and the checks are a fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.side import (
    ClearDue,
    ClearReady,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
)
from headwater.log.write import ANY, Write

TENANTS: Final = ("default", "other")
STREAMS: Final = tuple(
    Stream(type, f"s{n}", tenant) for tenant in TENANTS for type in ("a", "b") for n in (0, 1)
)
FENCES: Final = ("f0", "f1")
QUEUE: Final = "q"
_DAWN: Final = datetime(2024, 1, 1, tzinfo=UTC)


class PlannedWrite(NamedTuple):
    stream: Stream
    events: int
    expect: int | Fence = ANY
    rows: tuple[SideRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A call. With `derived`, every process that makes it makes the same one, with the same ids."""

    key: str
    writes: tuple[PlannedWrite, ...]
    derived: bool = False
    occurred_at: datetime | None = None
    padding: int = 0

    @property
    def tenant(self) -> str:
        return self.writes[0].stream.tenant

    def ids(self) -> list[UUID]:
        """The ids of a derived call's events."""
        return [
            derived_id(write.stream, self.key, index)
            for number, write in enumerate(self.writes)
            for index in range(self._start(number), self._start(number) + write.events)
        ]

    def make(self, order: tuple[str, int] | None = None) -> list[Write]:
        """The writes, new; `order` is whose how-manieth call it is."""
        return [
            Write(
                write.stream,
                [
                    self._event(number, write, index, order)
                    for index in range(self._start(number), self._start(number) + write.events)
                ],
                expect=write.expect,
                rows=write.rows,
            )
            for number, write in enumerate(self.writes)
        ]

    @property
    def size(self) -> int:
        return self._start(len(self.writes))

    def _start(self, number: int) -> int:
        return sum(write.events for write in self.writes[:number])

    def _event(
        self, number: int, write: PlannedWrite, index: int, order: tuple[str, int] | None
    ) -> NewEvent | RawEvent:
        data: dict[str, Any] = {"call": self.key, "index": index, "size": self.size}
        if index == 0:
            rows = [row for planned in self.writes for row in (*_fence_of(planned), *planned.rows)]
            data["rows"] = [describe(row) for row in rows]
        if index == self._start(number) and isinstance(write.expect, int) and write.expect >= 0:
            data["expect"] = write.expect
        if order:
            data["order"] = list(order)
        if self.padding:
            data["padding"] = "".join(
                Random(f"{self.key} {index}").choices("0123456789abcdef", k=self.padding)
            )
        event = RawEvent(f"fact_{index % 3}", data)
        if not self.derived:
            return event
        return NewEvent(
            event=event, id=derived_id(write.stream, self.key, index), occurred_at=self.occurred_at
        )


def describe(row: SideRow) -> list[Any]:
    """A side row as plain JSON."""
    match row:
        case SetDue(key, at, data):
            return ["SetDue", key, at.isoformat(), data.decode()]
        case PutReady(queue, key, data, priority, at):
            return ["PutReady", queue, key, data.decode(), priority, at.isoformat() if at else None]
        case _:
            return [type(row).__name__, *(getattr(row, name) for name in row.__slots__)]


def _fence_of(write: PlannedWrite) -> Iterator[SideRow]:
    if isinstance(write.expect, Fence):
        yield write.expect


@dataclass(slots=True)
class Caller:
    """Draws the calls of one life of a process, from what it believes of the log."""

    label: str
    chance: Random
    versions: dict[Stream, int] = field(default_factory=dict[Stream, int])
    _made: int = 0

    def call(self, *, derived: bool = False, rows: bool = True, plain: bool = False) -> Planned:
        """Any call; a `plain` one is never refused."""
        self._made += 1
        chance = self.chance
        tenant = chance.choice(TENANTS)
        streams = chance.sample([s for s in STREAMS if s.tenant == tenant], chance.choice((1, 1, 1, 2, 3)))
        expects = [ANY if plain else self._expect(stream) for stream in streams]
        writes = [
            PlannedWrite(stream, chance.choice((1, 1, 2, 5)), expect)
            for stream, expect in zip(streams, expects, strict=True)
        ]
        if rows and not plain and chance.random() < 0.6:
            writes[0] = writes[0]._replace(rows=tuple(self._rows()))
        padding = chance.choice((0, 0, 0, 600)) if derived else 0
        return Planned(f"{self.label}-{self._made}", tuple(writes), derived, padding=padding)

    def shared(self, number: int) -> Planned:
        """The same call whoever draws it."""
        chance = Random(f"shared {number}")
        return Planned(
            f"shared-{number}", (PlannedWrite(chance.choice(STREAMS), chance.randint(1, 3)),), derived=True
        )

    def fenced(self, key: str, epoch: int) -> Planned:
        """A call of a fence's owner."""
        self._made += 1
        stream = Stream("owned", key)
        write = PlannedWrite(stream, self.chance.choice((1, 2)), Fence(key, epoch))
        return Planned(f"{self.label}-{self._made}", (write,))

    def on(self, stream: Stream, expect: int = ANY, *rows: SideRow) -> Planned:
        """One event for a stream."""
        self._made += 1
        return Planned(f"{self.label}-{self._made}", (PlannedWrite(stream, 1, expect, rows),))

    def _expect(self, stream: Stream) -> int:
        believed = self.versions.get(stream, 0)
        return self.chance.choice(
            (ANY, ANY, ANY, believed, believed, believed, max(believed - 1, 0), believed + 1, believed + 2)
        )

    def _rows(self) -> list[SideRow]:
        chance, number = self.chance, str(self.chance.randrange(3))
        holder = chance.choice(("me", "you"))
        at, data = _DAWN + timedelta(seconds=chance.randrange(1000)), f"{self.label}-{self._made}".encode()
        fence = chance.choice(FENCES)
        choices: list[list[SideRow]] = [
            [TakeKey(f"k{number}", holder)],
            [NeedKey(f"k{number}", holder)],
            [GiveKey(f"k{number}", holder, missing_ok=chance.random() < 0.3)],
            [SetDue(f"d{number}", at, data)],
            [ClearDue(f"d{number}", missing_ok=chance.random() < 0.3)],
            [PutReady(QUEUE, f"r{number}", data, chance.randrange(3), at)],
            [ClearReady(QUEUE, f"r{number}", missing_ok=chance.random() < 0.3)],
            [OpenFence(fence)],
            [Wake(fence)],
        ]
        picked = chance.sample(choices, chance.choice((1, 1, 2, 3)))
        rows = [row for rows in picked for row in rows]
        return list({row.key: row for row in rows}.values())

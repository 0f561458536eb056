"""The events and streams that the contract's tests write, and the short words in which they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, TypeVar

from headwater.errors import HeadwaterError
from headwater.events.envelope import RawEvent, Recorded, Stream
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.port import FenceRow
from headwater.log.side import SideRow
from headwater.log.write import Appended, Write

T = TypeVar("T")
E = TypeVar("E", bound=HeadwaterError)
TENANT = "default"


class Noted(Event):
    """A typed event with any content."""

    type: Literal["noted"] = "noted"
    text: str = ""
    number: int = 0
    more: Any = None


ONE, TWO, THREE = Stream("paper", "one"), Stream("paper", "two"), Stream("card", "three")


def raw(number: int = 0) -> RawEvent:
    return RawEvent("counted", {"n": number})


def write(stream: Stream = ONE, *rows: SideRow, events: int = 1, **more: Any) -> Write:
    """A write of some events with these side rows."""
    return Write(stream, [raw(n) for n in range(events)], rows=rows, **more)


async def refused(kind: type[E], log: Log, *writes: Write) -> E:
    """The error with which an append is refused; fails when it is not."""
    head = await log.head()
    try:
        appended: list[Appended] = await log.append(*writes)
    except kind as error:
        assert await log.head() == head, "a refused call moved the log"
        return error
    raise AssertionError(f"{kind.__name__} was to refuse the append, but it stands at {appended}")


async def everything(log: Log, **filters: Any) -> list[Recorded]:
    return [event async for event in log.read(**filters)]


async def positions(events: AsyncIterator[Recorded]) -> list[int]:
    return [event.position async for event in events]


async def first(count: int, events: AsyncIterator[Recorded]) -> list[Recorded]:
    """The first events of an endless reading."""
    found: list[Recorded] = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    return found


async def fence(log: Log, key: str, tenant: str = TENANT) -> FenceRow | None:
    rows = await log.backend.fences(tenant, [key])
    return FenceRow(*rows[0]) if rows else None


def fenced(key: str, epoch: int = 0, holder: str | None = None, wakes: int = 0, seen: int = 0) -> FenceRow:
    """A fence without a label that nobody suspects."""
    return FenceRow(TENANT, key, epoch, holder, wakes, seen, "", 0, 0)


async def side_rows(log: Log, tenant: str = TENANT) -> dict[str, list[tuple[Any, ...]]]:
    """All side rows that the tests use, to compare before and after. Times of ready rows and entries are left out."""
    backend = log.backend
    names = ["f", "g", "h"]
    return {
        "keys": [tuple(row) for row in await backend.keys(tenant)],
        "fences": [tuple(row) for row in await backend.fences(tenant, names)],
        "due": [tuple(row) for row in await backend.due(tenant, by_now=False)],
        "ready": [(*row[:4], *row[5:]) for row in await backend.ready(tenant, "q")],
        "entries": [(*row[:5], row[6]) for row in await backend.entries(tenant, "papers")],
    }

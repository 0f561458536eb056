"""What is folded: the orders of every other benchmark, into how many there were and what they cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel

from bench.orders import OrderPlaced, rows
from bench.places import Places
from headwater import Event, Log, open_log
from headwater.log.port import Restored
from headwater.projections.folding import Folding
from headwater.projections.projection import Projection
from headwater.projections.rebuild import live_of
from headwater.projections.stores import Store

_PART = 5_000


class Bought(BaseModel):
    """The state of one key."""

    orders: int = 0
    cents: int = 0


def bought(state: Bought, event: OrderPlaced) -> Bought:
    cents = state.cents
    for line in event.lines:
        cents += line.quantity * line.cents
    return Bought(orders=state.orders + 1, cents=cents)


class Sent(Event):
    """When it was sent, by the machine's monotonic clock."""

    type: Literal["sent"] = "sent"
    at: int


BOUGHT = Projection("bought", state=Bought, initial=Bought(), fold=bought, events=(OrderPlaced,))


async def address_on(places: Places, backend: str) -> str:
    """A new log's."""
    if backend == "postgres":
        return (await places.database()).worker_url
    return f"sqlite:///{places.file('log.db')}"


@asynccontextmanager
async def filled(address: str, events: int, streams: int) -> AsyncGenerator[Log]:
    """A log that holds so many orders in so many streams, in turn."""

    async def source() -> AsyncIterator[Restored]:
        for first in range(1, events + 1, _PART):
            yield Restored(list(rows(min(_PART, events + 1 - first), streams, first=first)))

    async with open_log(address, OrderPlaced) as log:
        await log.backend.restore(source(), uuid4(), None)
        await log.reopen()
        yield log


async def folding_of(log: Log, store: Store, name: str) -> Folding[Bought]:
    """One that folds a projection of this name, with its lease."""
    projection = Projection(name, state=Bought, initial=Bought(), fold=bought, events=(OrderPlaced,))
    folding = Folding(log, projection, store, f"bench-{name}", lease=600)
    assert await folding.take((await live_of(store, projection)).generation) is not None
    return folding


async def fold_all(folding: Folding[Bought], went: Callable[[int], None] | None = None) -> int:
    """Fold to the end of the log: how far that is."""
    while await folding.step():
        if went is not None and folding.at is not None:
            went(folding.at.position)
    assert folding.at is not None
    return folding.at.position

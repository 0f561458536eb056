"""A small domain: what customers spend."""

from typing import Literal, assert_never

from pydantic import BaseModel

from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.projections.projection import Projection


class Paid(Event):
    type: Literal["paid"] = "paid"
    customer: str
    cents: int


class Refunded(Event):
    type: Literal["refunded"] = "refunded"
    customer: str
    cents: int


class Noted(Event):
    type: Literal["noted"] = "noted"
    text: str


class Spent(BaseModel):
    cents: int = 0
    events: int = 0


def spent(state: Spent, event: Paid | Refunded) -> Spent:
    match event:
        case Paid():
            return Spent(cents=state.cents + event.cents, events=state.events + 1)
        case Refunded():
            return Spent(cents=state.cents - event.cents, events=state.events + 1)
        case _:
            assert_never(event)


def choosy(state: Spent, event: Paid | Refunded) -> Spent:
    if event.cents == 13:
        raise ValueError("thirteen")
    return spent(state, event)


def customer(recorded: object) -> str:
    return recorded.event.customer  # type: ignore[attr-defined]


BY_STREAM = Projection("spent", state=Spent, initial=Spent(), fold=spent, events=(Paid, Refunded))
BY_CUSTOMER = Projection(
    "spent", state=Spent, initial=Spent(), fold=spent, events=(Paid, Refunded), key=customer
)
CHOOSY = Projection("spent", state=Spent, initial=Spent(), fold=choosy, events=(Paid, Refunded))


async def pay(log: Log, order: str, *cents: int, customer: str = "ann", tenant: str = "default") -> int:
    events = [Paid(customer=customer, cents=c) for c in cents]
    [appended] = await log.append(Write(Stream("order", order, tenant), events))
    return appended.position

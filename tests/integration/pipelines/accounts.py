"""A domain: accounts that are paid into and from, and never below zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, assert_never

from pydantic import BaseModel

from headwater import Event
from headwater.pipelines import Command, EventStream, Pipeline, handles
from headwater.pipelines.reactors import Reactor
from headwater.projections.projection import Projection


class Paid(Event):
    type: Literal["account_paid"] = "account_paid"
    cents: int


class Drawn(Event):
    type: Literal["account_drawn"] = "account_drawn"
    cents: int


class Balance(BaseModel):
    cents: int = 0


class Pay(Command):
    cents: int


class Draw(Command):
    cents: int


class Poor(Exception):
    """There is not enough in the account."""


def fold(state: Balance, event: Paid | Drawn) -> Balance:
    match event:
        case Paid():
            return Balance(cents=state.cents + event.cents)
        case Drawn():
            return Balance(cents=state.cents - event.cents)
        case _:
            assert_never(event)


def pay(_: Balance, command: Pay) -> Iterable[Event]:
    return [Paid(cents=command.cents)] if command.cents else []


def draw(state: Balance, command: Draw) -> Iterable[Event]:
    if state.cents < command.cents:
        raise Poor(f"{state.cents} is less than {command.cents}")
    return [Drawn(cents=command.cents)]


def turnover(state: Balance, event: Paid | Drawn) -> Balance:
    return Balance(cents=state.cents + event.cents)


def accounts(
    *reactors: Reactor,
    from_stream: bool = False,
    inline: bool = False,
    projections: Sequence[Projection[Any]] = (),
) -> Pipeline[Paid | Drawn, Balance]:
    return Pipeline(
        name="accounts",
        aggregate_type="account",
        events=(Paid, Drawn),
        state=Balance,
        initial=Balance(),
        fold=None if from_stream else fold,
        from_stream=total if from_stream else None,
        inline=inline,
        projections=[
            Projection(
                "turnover",
                state=Balance,
                initial=Balance(),
                fold=turnover,
                events=(Paid, Drawn),
                key=lambda _: "all",
            ),
            *projections,
        ],
        commands=[handles(Pay, pay), handles(Draw, draw)],
        reactors=reactors,
    )


def total(events: EventStream[Paid | Drawn]) -> Balance:
    """The same balance, from all events at once."""
    return Balance(cents=sum(e.cents if isinstance(e, Paid) else -e.cents for e in events))

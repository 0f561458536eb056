"""What is written in every case, by every side: an order of 278 bytes of JSON, with a date and two nested lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from headwater import Event, Stream
from headwater.events.canonical import encode_event
from headwater.events.digest import link
from headwater.events.envelope import StoredRow
from headwater.events.ids import TimeOrderedIds


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    sku: str
    quantity: int
    cents: int


class OrderPlaced(Event):
    type: Literal["order_placed"] = "order_placed"
    order_id: str
    customer: str
    currency: Literal["EUR", "USD"]
    placed_at: AwareDatetime
    lines: list[Line]
    note: str | None = None


def order(number: int) -> OrderPlaced:
    return OrderPlaced(
        order_id=f"order-{number:08}",
        customer="customer-4711",
        currency="EUR",
        placed_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        lines=[
            Line(sku="tea-green-250", quantity=2, cents=1290),
            Line(sku="pot-cast-iron", quantity=1, cents=7900),
        ],
        note="leave it with the neighbours",
    )


ORDERS = [order(number) for number in range(1000)]
_PAYLOADS = [encode_event(event) for event in ORDERS]


def stream(number: int) -> Stream:
    return Stream("order", f"order-{number:08}")


def rows(count: int, streams: int, *, first: int = 1) -> Iterator[StoredRow]:
    """What a log holds after `count` orders: the rows that a bare driver is given, made before the clock starts."""
    ids = TimeOrderedIds()
    chain = os.urandom(32)
    for position in range(first, first + count):
        number = position - 1
        payload = _PAYLOADS[number % len(_PAYLOADS)]
        digest = sha256(payload).digest()
        chain = link(chain, position, number // streams + 1, 1_772_366_400_000_000, digest)
        yield StoredRow(
            position=position,
            tenant="default",
            stream_type="order",
            stream_id=stream(number % streams).id,
            version=number // streams + 1,
            event_id=ids.new(),
            type="order_placed",
            schema_version=1,
            spec_version=2,
            occurred_at=1_772_366_400_000_000,
            recorded_at=1_772_366_400_000_000,
            run_id=None,
            correlation_id=None,
            causation_id=None,
            actor=None,
            traceparent=None,
            encoding="json",
            data=payload,
            metadata=None,
            blob=None,
            digest=digest,
            chain=chain,
        )

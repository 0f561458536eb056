"""A small shop: its events, and the state of an order as their fold."""

from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never, cast

from headwater import Event, Fold, Recorded, Registry


class OrderPlaced(Event):
    schema_version = 2

    type: Literal["order_placed"] = "order_placed"
    order_id: str
    cents: int
    currency: str


class OrderPaid(Event):
    type: Literal["order_paid"] = "order_paid"
    cents: int


class OrderShipped(Event):
    type: Literal["order_shipped"] = "order_shipped"
    carrier: str


ShopEvent = OrderPlaced | OrderPaid | OrderShipped
registry = Registry(OrderPlaced, OrderPaid, OrderShipped)


@registry.upcast(OrderPlaced, from_version=1)
def _(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"currency": "EUR"}  # version 1 knew euros only


@dataclass(frozen=True)
class Order:
    status: Literal["unknown", "placed", "paid", "shipped"] = "unknown"
    open_cents: int = 0


def apply(order: Order, recorded: Recorded) -> Order:
    match cast("ShopEvent", recorded.event):
        case OrderPlaced(cents=cents):
            return Order("placed", cents)
        case OrderPaid(cents=cents):
            return Order("paid", order.open_cents - cents)
        case OrderShipped():
            return replace(order, status="shipped")
        case other:
            assert_never(other)


order_fold = Fold("order", Order, Order(), apply)

"""What a typed event is: a frozen Pydantic model whose `type` field names it.

    class OrderPlaced(Event):
        type: Literal["order_placed"] = "order_placed"
        order_id: str

`type` is the discriminator in unions and is stored with the payload. `schema_version` is raised when the shape
changes, together with an upcaster (see `registry`).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from headwater.errors import EventTypeError
from headwater.events.names import check_name


class Event(BaseModel):
    """An immutable typed fact."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: ClassVar[int] = 1
    brief: ClassVar[bool] = False
    """Fields that are None are not stored."""


def type_name(model: type[Event]) -> str:
    """The name under which a model's events are stored."""
    field = model.model_fields.get("type")
    values: tuple[Any, ...] = (
        get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    )
    if field is None or len(values) != 1 or field.default != values[0]:
        raise EventTypeError(
            f'{model.__qualname__} has no discriminator. Give it a field type: Literal["a_name"] = "a_name".'
        )
    return check_name("event type", values[0])

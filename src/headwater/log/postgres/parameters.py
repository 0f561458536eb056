"""The parameters of `headwater.append`, and how the driver is given them.

Of each element of an array the driver asks first whether it is an array too, which costs as much as to write it down.
So a column of text, numbers or ids goes as one text that the server takes apart, in a third of the time; columns of
bytes go as they are. What parts the elements cannot be in one: ids and names are printable (events/names.py), and a
column for which that does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

TYPES: Final = (
    "smallint",
    *["text[]"] * 3,
    "bigint[]",
    *["int[]"] * 2,
    "bigint[]",
    "boolean[]",
    *["int[]"] * 3,
    "uuid[]",
    "text[]",
    *["int[]"] * 2,
    "bigint[]",
    *["text[]"] * 6,
    *["bytea[]"] * 4,
    "int[]",
    *["text[]"] * 4,
    "bigint[]",
    "int[]",
    "bytea[]",
    *["text[]"] * 3,
    "boolean",
    "text[]",
    "uuid",
    "uuid[]",
)
"""In the order of the function's signature: see sql/functions/20_append.sql."""

_PARTS: Final = "\x1f"
_ABSENT: Final = "\x1e"


def spelled(statement: str, count: int = len(TYPES)) -> str:
    """A statement with its `{parameters}`, the first `count` of them, as they are sent."""
    return statement.replace(
        "{parameters}", ", ".join([_place(n, type) for n, type in enumerate(TYPES[:count], 1)])
    )


def sent(arguments: Sequence[Any]) -> list[Any]:
    """Arguments as they are sent."""
    return [
        value if value is None or send is None else send(value)
        for send, value in zip(_SENDERS, arguments, strict=False)
    ]


def _place(number: int, type: str) -> str:
    match type:
        case "text[]":
            return f"string_to_array(${number}, E'\\x1f', E'\\x1e')"
        case "int[]" | "bigint[]" | "boolean[]" | "uuid[]":
            return f"${number}::text::{type}"
        case _:
            return f"${number}"


def _texts(column: Sequence[str | None]) -> str:
    if not column:
        return ""
    text = _PARTS.join([_ABSENT if value is None else value for value in column])
    if not text or text.count(_PARTS) != len(column) - 1:
        raise ValueError(f"{column!r} is one empty text, or holds a control character.")
    return text


def _numbers(column: Sequence[int | None]) -> str:
    text = f"{{{str(list(column))[1:-1]}}}"
    return text.replace("None", "NULL") if "N" in text else text


def _ids(column: Sequence[UUID]) -> str:
    return f"{{{','.join([f'{id.int:032x}' for id in column])}}}"


_BY_TYPE: Final[dict[str, Callable[[Any], str]]] = {
    "text[]": _texts,
    "int[]": _numbers,
    "bigint[]": _numbers,
    "boolean[]": _numbers,
    "uuid[]": _ids,
}
_SENDERS: Final = [_BY_TYPE.get(type) for type in TYPES]

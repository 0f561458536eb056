"""Canonical JSON: one value, one sequence of bytes; sorted keys, no white space, UTF-8.

What JSON cannot say is refused here, at the door: NaN and infinities, datetimes without a zone, nesting past the
encoder's depth. NUL characters and lone surrogates, which language models emit, are data: text with a lone
surrogate has no UTF-8, so such a payload (and only such) is written in pure ASCII with escapes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import orjson
from pydantic_core import PydanticSerializationError

from headwater.errors import PayloadRefused
from headwater.events.model import Event

MAX_DEPTH = 200
_PLAIN = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def encode_event(event: Event) -> bytes:
    """A typed event's payload."""
    model = type(event)
    dump: Callable[..., Any] = model.__pydantic_serializer__.to_python
    if model.brief and (data := _plain(dump(event, exclude_none=True))) is not None:
        return data
    try:
        if _may_hold_poison(model):
            refuse_poison(dump(event), model.__name__)
        value = dump(event, mode="json", exclude_none=model.brief)
    except (PydanticSerializationError, RecursionError, ValueError) as error:
        raise PayloadRefused(f"{model.__name__} cannot be written as JSON: {error}") from None
    return _dumps(value, model.__name__)


def _plain(value: Any) -> bytes | None:
    """What is plain JSON already, in a third of the time: NaN would be a null, so without a null there is none."""
    try:
        data = orjson.dumps(value, option=_PLAIN)
    except TypeError:
        return None
    return None if b"null" in data else _compact(data)


def encode_json(value: Any, what: str) -> bytes:
    """Any plain JSON value, checked."""
    data = _plain(value)
    if data is not None and (len(data) <= MAX_DEPTH or data.count(b"[") + data.count(b"{") <= MAX_DEPTH):
        return data  # nothing to refuse, found out in a third of the time
    refuse_poison(value, what, plain=True)
    return _dumps(value, what)


def decode_json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)  # lone surrogates


def _dumps(value: Any, what: str) -> bytes:
    try:
        return _compact(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    except TypeError as error:
        if "surrogates" not in str(error):
            raise PayloadRefused(f"The payload of {what} cannot be written as JSON: {error}.") from None
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _compact(data: bytes) -> bytes:
    """A copy in memory of its own size: what orjson gives lies in a buffer of 4 KB or more while it is kept."""
    return b"%b" % data


def refuse_poison(value: Any, what: str, *, plain: bool = False) -> None:
    """Walk a payload without recursion; refuse what would not come back as it was.

    A `plain` payload may hold only what JSON has; otherwise Pydantic says how the rest is written.
    """
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise PayloadRefused(f"The payload of {what} is nested deeper than {MAX_DEPTH}. Flatten it.")
        if isinstance(item, float):
            if not math.isfinite(item):
                raise PayloadRefused(
                    f"The payload of {what} holds {item}, which JSON cannot say. Use None or text."
                )
        elif isinstance(item, datetime):
            if plain or item.tzinfo is None:
                raise PayloadRefused(
                    f"The payload of {what} holds {item!r}, a datetime without a zone or model."
                )
        elif isinstance(item, Mapping):
            inside: Mapping[Any, Any] = cast(Any, item)
            if plain and not all(isinstance(key, str) for key in inside):
                raise PayloadRefused(f"The payload of {what} has keys that are not text. JSON has no others.")
            todo.extend((inner, depth + 1) for inner in inside.values())
        elif isinstance(item, list | tuple | set | frozenset):
            todo.extend((inner, depth + 1) for inner in cast(Any, item))


_SAFE = {
    "str",
    "int",
    "bool",
    "none",
    "literal",
    "uuid",
    "bytes",
    "date",
    "timedelta",
    "decimal",
    "enum",
    "url",
}
_CONTAINERS = {"model", "model-fields", "model-field", "default", "nullable", "list", "tuple", "dict"}
_INSIDE = ("schema", "items_schema", "keys_schema", "values_schema", "extras_schema")


@lru_cache(maxsize=1024)
def _may_hold_poison(model: type[Event]) -> bool:
    """Whether a model has a field that could hold NaN, a naive datetime or something unbounded.

    Most models cannot, and are spared the walk. Anything that is not known to be safe counts as unsafe.
    """
    todo: list[Any] = [model.__pydantic_core_schema__]
    while todo:
        schema = todo.pop()
        kind = schema["type"]
        if kind in _SAFE or (kind == "float" and not schema.get("allow_inf_nan", False)):
            continue
        if kind == "datetime" and schema.get("tz_constraint") == "aware":
            continue
        if kind not in _CONTAINERS:
            return True
        if kind == "model-fields":
            todo.extend(schema["fields"].values())
        for inner in (schema.get(name) for name in _INSIDE):
            todo.extend(cast(Any, inner) if isinstance(inner, list) else [inner] if inner else [])
    return False

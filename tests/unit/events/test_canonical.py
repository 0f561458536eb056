"""Canonical JSON: one value, one sequence of bytes; poison is refused, oddities survive."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from headwater.errors import PayloadRefused
from headwater.events.canonical import MAX_DEPTH, decode_json, encode_event, encode_json
from headwater.events.model import Event

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates are letters too
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


NAIVE = datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None)


class Anything(Event):
    type: Literal["anything"] = "anything"
    value: Any = None


class Typed(Event):
    type: Literal["typed"] = "typed"
    id: UUID = UUID(int=1)
    at: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    price: Decimal = Decimal("1.10")
    text: str = ""
    tags: dict[str, list[int]] = Field(default_factory=dict)


@given(values)
def test_every_plain_value_comes_back(value: Any) -> None:
    data = encode_json(value, "test")
    assert decode_json(data) == value
    assert encode_json(decode_json(data), "test") == data


@given(st.dictionaries(texts, values, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    turned = dict(reversed(list(value.items())))
    assert encode_json(value, "test") == encode_json(turned, "test")


def test_the_bytes_never_change() -> None:
    value = {"b": [1, -0.5, 2.25, True, None], "a": {"\u00e9": '\x00\n"\\/'}, "": []}
    assert (
        encode_json(value, "t")
        == b'{"":[],"a":{"\xc3\xa9":"\\u0000\\n\\"\\\\/"},"b":[1,-0.5,2.25,true,null]}'
    )
    assert encode_json({"b": 1, "a": "\ud800"}, "t") == b'{"a":"\\ud800","b":1}'
    assert encode_event(Typed()) == (
        b'{"at":"2020-01-01T00:00:00Z","id":"00000000-0000-0000-0000-000000000001","price":"1.10","tags":{},'
        b'"text":"","type":"typed"}'
    )


@given(texts)
def test_any_text_survives_in_a_model(text: str) -> None:
    data = encode_event(Anything(value=[text]))
    assert decode_json(data) == {"type": "anything", "value": [text]}
    assert json.loads(encode_event(Typed(text=text)))["text"] == text


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1, {"a": -float("inf")}],
        NAIVE,
        pytest.param(object(), id="an object"),
        b"x",
        {1},
        {1: 2},
        2**64,
    ],
    ids=repr,
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(PayloadRefused) as refused:
        encode_json(value, "my_event")
    assert "my_event" in str(refused.value)


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], NAIVE, pytest.param({"a": object()}, id="an object")], ids=repr
)
def test_poison_in_an_open_field_of_a_model_is_refused(value: Any) -> None:
    with pytest.raises(PayloadRefused) as refused:
        encode_event(Anything(value=value))
    assert "Anything" in str(refused.value)


def test_aware_times_of_any_zone_are_kept_in_models() -> None:
    moment = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    data = encode_event(Typed(at=moment))
    assert Typed.model_validate_json(data).at == moment


def test_depth_is_bounded_without_recursion() -> None:
    def nested(depth: int, kind: str) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if kind == "list" else {"a": value}
        return value

    for kind in ("list", "dict"):
        assert decode_json(encode_json(nested(MAX_DEPTH, kind), "t")) == nested(MAX_DEPTH, kind)
        for depth in (MAX_DEPTH + 1, 10_000, 100_000):
            with pytest.raises(PayloadRefused):
                encode_json(nested(depth, kind), "t")
            with pytest.raises(PayloadRefused):
                encode_event(Anything(value=nested(depth, kind)))


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PayloadRefused):
        encode_json(endless, "t")


def test_what_is_kept_takes_no_more_memory_than_it_is_long() -> None:
    """Of a process of its own, which has no free memory that would hide it."""
    program = (
        "from pathlib import Path\n"
        "from headwater.events.canonical import encode_json\n"
        "def taken(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "values = [{'n': n, 'maybe': maybe} for n in range(10_000) for maybe in (None, n)]\n"
        "before = taken()\n"
        "kept = [encode_json(value, 'a value') for value in values]\n"
        "print((taken() - before) // len(kept))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500  # of about 25 bytes each

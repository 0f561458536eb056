"""Models by name, and old payloads lifted to today's shape."""

from typing import Any, ClassVar, Literal

import pytest

from headwater.errors import EventTypeError, InvalidName, NewerSchema, Undecodable, UnknownEventType
from headwater.events.model import Event, type_name
from headwater.events.registry import Registry


class Paid(Event):
    schema_version: ClassVar[int] = 3
    type: Literal["paid"] = "paid"
    cents: int
    currency: str


class Sent(Event):
    type: Literal["sent"] = "sent"
    to: str


def lifting() -> Registry:
    registry = Registry(Paid, Sent)

    @registry.upcast(Paid, from_version=1)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return {"type": "paid", "cents": data["euros"] * 100}

    @registry.upcast(Paid, from_version=2)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"currency": "EUR"}

    return registry


def test_a_payload_of_today_is_validated() -> None:
    assert lifting().decode("sent", 1, b'{"type":"sent","to":"me"}') == Sent(to="me")


def test_old_payloads_are_lifted_step_by_step() -> None:
    today = Paid(cents=500, currency="EUR")
    assert lifting().decode("paid", 1, b'{"type":"paid","euros":5}') == today
    assert lifting().decode("paid", 2, b'{"type":"paid","cents":500}') == today
    assert lifting().decode("paid", 3, today.model_dump_json().encode()) == today


def test_a_missing_step_is_named() -> None:
    registry = Registry(Paid)
    assert registry.missing_upcasters(Paid) == [1, 2]
    with pytest.raises(Undecodable, match="from schema version 1"):
        registry.decode("paid", 1, b"{}")
    assert lifting().missing_upcasters(Paid) == []


def test_what_newer_code_wrote_is_left_to_it() -> None:
    with pytest.raises(NewerSchema) as newer:
        lifting().decode("paid", 4, b"{}")
    assert (newer.value.type, newer.value.stored, newer.value.known) == ("paid", 4, 3)


def test_a_type_without_a_model_is_named() -> None:
    with pytest.raises(UnknownEventType) as unknown:
        lifting().decode("refunded", 1, b"{}")
    assert unknown.value.type == "refunded"


@pytest.mark.parametrize(
    "data", [b'{"type":"sent"}', b'{"type":"sent","to":"me","x":1}', b'{"type":"paid","to":"me"}']
)
def test_a_payload_that_does_not_fit_says_so(data: bytes) -> None:
    with pytest.raises(Undecodable, match="Sent"):
        lifting().decode("sent", 1, data)


def test_lone_surrogates_come_back_typed() -> None:
    assert lifting().decode("sent", 1, b'{"to":"\\ud800","type":"sent"}') == Sent(to="\ud800")


def test_a_name_belongs_to_one_model() -> None:
    class Other(Event):
        type: Literal["sent"] = "sent"

    registry = Registry(Sent)
    assert registry.add(Sent) is Sent
    with pytest.raises(EventTypeError, match="Other"):
        registry.add(Other)


def test_an_upcaster_that_leads_nowhere_is_refused() -> None:
    registry = lifting()
    for version in (0, 3, 9):
        with pytest.raises(EventTypeError):
            registry.upcast(Paid, from_version=version)
    with pytest.raises(EventTypeError, match="two upcasters"):
        registry.upcast(Paid, from_version=1)(lambda data: data)


def test_a_model_needs_a_discriminator_that_is_a_name() -> None:
    class Nameless(Event):
        value: int = 1

    class Unset(Event):
        type: Literal["unset"]

    class Twice(Event):
        type: Literal["a", "b"] = "a"

    class Odd(Event):
        type: Literal["not a name"] = "not a name"

    for model in (Nameless, Unset, Twice):
        with pytest.raises(EventTypeError, match=model.__name__):
            type_name(model)
    with pytest.raises(InvalidName):
        type_name(Odd)

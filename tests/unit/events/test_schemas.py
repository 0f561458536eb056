"""Frozen schemas: a model that changed its shape fails the build, and the message says how to mend it."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.events.schemas import check, freeze


class Address(BaseModel):
    street: str


class Placed(Event):
    type: Literal["shop/placed"] = "shop/placed"
    order_id: str
    address: Address | None = None


def changed() -> type[Event]:
    class Placed(Event):
        type: Literal["shop/placed"] = "shop/placed"
        order_id: str
        total: int

    return Placed


def raised() -> type[Event]:
    class Placed(Event):
        schema_version: ClassVar[int] = 2
        type: Literal["shop/placed"] = "shop/placed"
        order_id: str
        total: int

    return Placed


def test_a_new_model_is_to_be_frozen(tmp_path: Path) -> None:
    [problem] = check(Registry(Placed), tmp_path)
    assert "shop/placed" in problem
    assert "shop-placed.v1.json" in problem


def test_a_frozen_model_is_fine_and_freezing_again_writes_nothing(tmp_path: Path) -> None:
    registry = Registry(Placed)
    [file] = freeze(registry, tmp_path / "new")
    assert json.loads(file.read_text())["type"] == "object"
    assert check(registry, tmp_path / "new") == []
    assert freeze(registry, tmp_path / "new") == []


def test_a_changed_model_without_an_upcaster_is_named_with_the_fix(tmp_path: Path) -> None:
    freeze(Registry(Placed), tmp_path)
    before = {file: file.read_text() for file in tmp_path.iterdir()}
    registry = Registry(changed())
    [problem] = check(registry, tmp_path)
    assert "Placed changed its shape" in problem
    assert "schema_version = 2" in problem
    assert "add an upcaster from 1" in problem
    assert freeze(registry, tmp_path) == [], "a frozen schema is never overwritten"
    assert {file: file.read_text() for file in tmp_path.iterdir()} == before


def test_a_raised_version_needs_its_upcaster_and_its_file(tmp_path: Path) -> None:
    freeze(Registry(Placed), tmp_path)
    model = raised()
    registry = Registry(model)
    missing, unfrozen = check(registry, tmp_path)
    assert "no upcaster from schema version 1" in missing
    assert "version 2 is not frozen" in unfrozen

    @registry.upcast(model, from_version=1)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"total": 0}

    freeze(registry, tmp_path)
    assert check(registry, tmp_path) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shop-placed.v1.json", "shop-placed.v2.json"]


def test_a_change_deep_inside_is_seen(tmp_path: Path) -> None:
    class Address(BaseModel):
        street: str
        city: str

    class Placed(Event):
        type: Literal["shop/placed"] = "shop/placed"
        order_id: str
        address: Address | None = None

    freeze(Registry(globals()["Placed"]), tmp_path)
    assert len(check(Registry(Placed), tmp_path)) == 1


def test_prose_is_not_shape(tmp_path: Path) -> None:
    class Placed(Event):
        """Somebody placed an order."""

        type: Literal["shop/placed"] = "shop/placed"
        order_id: str = Field(description="which one", examples=["o-1"], title="Order")
        address: Address | None = None

    freeze(Registry(globals()["Placed"]), tmp_path)
    assert check(Registry(Placed), tmp_path) == []


def test_fields_that_are_called_like_prose_are_shape(tmp_path: Path) -> None:
    class One(Event):
        type: Literal["one"] = "one"
        title: str

    class Two(Event):
        type: Literal["one"] = "one"
        title: int

    freeze(Registry(One), tmp_path)
    assert len(check(Registry(Two), tmp_path)) == 1

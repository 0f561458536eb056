"""The event types a program knows, and how old payloads are lifted to today's shape.

    events = Registry(OrderPlaced, OrderPaid)

    @events.upcast(OrderPlaced, from_version=1)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"currency": "EUR"}

An upcaster takes the plain payload of one version to the next; reading chains them up to the model's
`schema_version`. Stored bytes never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from headwater.errors import EventTypeError, NewerSchema, Undecodable, UnknownEventType
from headwater.events.canonical import decode_json
from headwater.events.codec import Codec
from headwater.events.model import Event, type_name

E = TypeVar("E", bound=Event)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Registry:
    """Event models by name, with their upcasters."""

    def __init__(self, *models: type[Event]) -> None:
        self._models: dict[str, type[Event]] = {}
        self._upcasters: dict[tuple[str, int], Upcaster] = {}
        for model in models:
            self.add(model)

    def add(self, model: type[E]) -> type[E]:
        """Register a model; usable as a decorator."""
        name = type_name(model)
        known = self._models.setdefault(name, model)
        if known is not model:
            raise EventTypeError(
                f"Event type {name!r} is declared by {known.__qualname__} and {model.__qualname__}."
            )
        return model

    def upcast(self, model: type[Event], *, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Register how payloads of `from_version` become those of the next version."""
        name = type_name(model)
        if not 1 <= from_version < model.schema_version:
            raise EventTypeError(
                f"{model.__qualname__} is at schema version {model.schema_version}: "
                f"there is nothing to lift from version {from_version}."
            )

        def register(function: Upcaster) -> Upcaster:
            if self._upcasters.setdefault((name, from_version), function) is not function:
                raise EventTypeError(f"{name!r} has two upcasters from version {from_version}.")
            return function

        return register

    def __iter__(self) -> Iterator[type[Event]]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def missing_upcasters(self, model: type[Event]) -> list[int]:
        """The versions of a model from which no upcaster leads on."""
        name = type_name(model)
        return [v for v in range(1, model.schema_version) if (name, v) not in self._upcasters]

    def decode(self, name: str, schema_version: int, data: bytes) -> Event:
        """The typed event of a plain JSON payload."""
        model = self._models.get(name)
        if model is None:
            raise UnknownEventType(name)
        try:
            if schema_version == model.schema_version:
                return _validate(model, data)
            return model.model_validate(self._lift(model, name, schema_version, decode_json(data)))
        except ValidationError as error:
            raise Undecodable(
                f"A stored {name!r} (schema version {schema_version}) does not fit {model.__qualname__}: {error}. "
                "Raise schema_version and add an upcaster."
            ) from error

    def _lift(self, model: type[Event], name: str, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version > model.schema_version:
            raise NewerSchema(name, version, model.schema_version)
        while version < model.schema_version:
            upcaster = self._upcasters.get((name, version))
            if upcaster is None:
                raise Undecodable(
                    f"There is no upcaster for {name!r} from schema version {version}. Add one."
                )
            data = upcaster(data)
            version += 1
        return data


def _validate(model: type[Event], data: bytes) -> Event:
    try:
        event: Event = model.__pydantic_validator__.validate_json(
            data
        )  # a third faster than through the class
        return event
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise
        return model.model_validate(decode_json(data))  # lone surrogates, which Pydantic's parser refuses


class RegistryDecoder:
    """Stored bytes to values: the codec chain, then the registry."""

    def __init__(self, registry: Registry, codec: Codec) -> None:
        self._registry = registry
        self._codec = codec

    def event(self, type: str, schema_version: int, encoding: str, data: bytes) -> Event:
        return self._registry.decode(type, schema_version, self._codec.decode(encoding, data))

    def json(self, encoding: str, data: bytes) -> Any:
        return decode_json(self._codec.decode(encoding, data))

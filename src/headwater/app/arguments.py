"""From a function's arguments and result to plain JSON and back, as its annotations say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from headwater.errors import DeclarationRefused, PayloadRefused
from headwater.events.canonical import decode_json, encode_json, refuse_poison

_PLAIN: Final = {int, str, bool, type(None)}


class Payload:
    """One type: its values as plain JSON, and back."""

    __slots__ = ("_adapter", "_type", "what")

    def __init__(self, annotation: Any, what: str) -> None:
        self._type = annotation
        self.what = what
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except PydanticUserError as error:
            raise DeclarationRefused(
                f"{what} has the type {annotation!r}, which cannot be stored: {str(error).splitlines()[0]} "
                "Use plain values, dataclasses or Pydantic models."
            ) from None

    def dump(self, value: Any) -> Any:
        """Plain JSON; refuses what is not of the type, or would not come back."""
        if type(value) in _PLAIN and (self._type is type(value) or self._type is Any):
            return value
        try:
            plain = self._adapter.dump_python(value, mode="json", warnings="error", by_alias=True)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise PayloadRefused(f"{self.what} cannot be stored: {error}") from None
        if type(plain) not in _PLAIN:
            refuse_poison(plain, f"{self.what[0].lower()}{self.what[1:]}", plain=True)
        return plain

    def load(self, plain: Any) -> Any:
        if type(plain) in _PLAIN and (self._type is type(plain) or self._type is Any):
            return plain
        if self._type is Any:
            return decode_json(encode_json(plain, self.what))
        data = encode_json(plain, self.what)
        try:
            return self._adapter.validate_json(data)
        except ValidationError as error:
            if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
                return self._adapter.validate_python(decode_json(data))
            raise PayloadRefused(f"{self.what} does not fit its type: {error}") from error


class Signature:
    """A function's arguments, stored by name, and its result."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name
        self._signature = inspect.signature(function)
        self._made: tuple[dict[str, Payload], Payload] | None = None
        self._names = list(self._signature.parameters)
        kinds = {p.kind for p in self._signature.parameters.values()}
        self._simple = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        with suppress(NameError):  # of what is defined further down; looked up at the first use
            self._types()

    def _types(self) -> tuple[dict[str, Payload], Payload]:
        if self._made is None:
            hints = get_type_hints(self.function, include_extras=True)
            result = Payload(hints.get("return", Any), f"The result of {self.name}")
            self._made = (
                {n: Payload(hints.get(n, Any), f"Argument {n!r} of {self.name}") for n in self._names},
                result,
            )
        return self._made

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return self._signature.parameters

    @property
    def result(self) -> Payload:
        return self._types()[1]

    def dump(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; what was left to its default is left out."""
        if not args and not kwargs and not self._names:
            return {}
        payloads = self._types()[0]
        if self._simple and not kwargs and len(args) == len(self._names):
            return {name: payloads[name].dump(value) for name, value in zip(self._names, args, strict=True)}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise DeclarationRefused(f"{self.name} was called wrongly: {error}.") from None
        return {name: self._dump(name, value) for name, value in bound.arguments.items()}

    def _dump(self, name: str, value: Any) -> Any:
        payload = self._types()[0][name]
        match self._signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                return [payload.dump(one) for one in value]
            case inspect.Parameter.VAR_KEYWORD:
                return {key: payload.dump(one) for key, one in value.items()}
            case _:
                return payload.dump(value)

    def load(self, plain: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is to be called with."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        given = cast(dict[str, Any], plain or {})
        payloads = self._types()[0]
        if self._simple and given.keys() == payloads.keys():
            return tuple([payload.load(given[name]) for name, payload in payloads.items()]), {}
        for name, parameter in self._signature.parameters.items():
            if name not in given:
                continue
            payload, value = payloads[name], given[name]
            match parameter.kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    args += [payload.load(one) for one in value]
                case inspect.Parameter.VAR_KEYWORD:
                    kwargs |= {key: payload.load(one) for key, one in value.items()}
                case inspect.Parameter.KEYWORD_ONLY:
                    kwargs[name] = payload.load(value)
                case inspect.Parameter.POSITIONAL_ONLY:
                    args.append(payload.load(value))
                case _:
                    if len(args) == self._names.index(name):
                        args.append(payload.load(value))
                    else:
                        kwargs[name] = payload.load(value)
        return tuple(args), kwargs

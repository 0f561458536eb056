"""What is kept by call number, so that one more event costs little however long the history is.

A `Calls` is immutable. Its items lie in chunks of 64 calls; `put` copies one chunk and the list of chunks. A plain dict
that is copied for each event would make a run of n steps cost n squared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

V = TypeVar("V")


class Calls(Mapping[int, V]):
    """An immutable mapping of call numbers."""

    __slots__ = ("_chunks", "_size")

    def __init__(self, items: Mapping[int, V] | None = None) -> None:
        self._chunks: dict[int, dict[int, V]] = {}
        self._size = len(items or ())
        for call, value in (items or {}).items():
            self._chunks.setdefault(call >> 6, {})[call] = value

    def put(self, call: int, value: V) -> Calls[V]:
        """This one with one item added or replaced."""
        there = self._chunks.get(call >> 6)
        changed: Calls[V] = Calls()
        changed._chunks = {**self._chunks, call >> 6: {**there, call: value} if there else {call: value}}
        changed._size = self._size + (not there or call not in there)
        return changed

    def __getitem__(self, call: int) -> V:
        return self._chunks[call >> 6][call]

    def get(self, call: int, default: Any = None) -> Any:
        chunk = self._chunks.get(call >> 6)
        return default if chunk is None else chunk.get(call, default)

    def __iter__(self) -> Iterator[int]:
        for chunk in self._chunks.values():
            yield from chunk

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Calls({dict(self)})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (item,) = get_args(source)
        items = core_schema.dict_schema(core_schema.int_schema(), handler.generate_schema(item))
        return core_schema.no_info_after_validator_function(
            cls,
            items,
            serialization=core_schema.plain_serializer_function_ser_schema(dict, return_schema=items),
        )

"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Header, Query
from pydantic import AwareDatetime
from starlette.convertors import Convertor, register_url_convertor


class _Id(Convertor[str]):
    """An id in a path: percent-encoded there, so that it may hold a slash."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _Id())

MOST = 1000
MOST_KEY = 255
Limit = Annotated[int, Query(ge=1, le=MOST)]
At = Annotated[AwareDatetime | None, Query(description="As it was recorded by a time.")]
Version = Annotated[int | None, Query(ge=1, description="As it was at an event.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MOST_KEY,
        description="The same request again, under the same key, has the same effect: once.",
    ),
]

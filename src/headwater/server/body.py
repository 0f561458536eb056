"""Requests and answers as JSON, read and written once, with a bound on depth that no body gets around."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import from_json

from headwater.server.problems import Problem

MEDIA: Final = "application/json"


class PlainRequest(Request):
    """Its body is JSON, whose parser stops at a depth of some two hundred, and takes no NaN."""

    async def json(self) -> Any:
        if not hasattr(self, "_plain"):
            self._plain = await self._parsed()
        return self._plain

    async def _parsed(self) -> Any:
        body = await self.body()
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != MEDIA:
            raise Problem(415, "media_type_refused", f"Send the body as {MEDIA}.")
        try:
            return from_json(body, allow_inf_nan=False)
        except (ValueError, RecursionError) as error:
            raise Problem(400, "json_refused", f"The body is not JSON that can be taken: {error}.") from None


class PlainRoute(APIRoute):
    """A route whose body is read by `PlainRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_plain(request: Request) -> Response:
            plain = PlainRequest(request.scope, request.receive)
            if await plain.body():
                await plain.json()
            return await handle(plain)

        return handle_plain


def answer(content: BaseModel | dict[str, Any] | list[Any], status: int = 200) -> Response:
    """An answer, written straight to bytes."""
    data = content.model_dump_json().encode() if isinstance(content, BaseModel) else dumps(content)
    return Response(data, status, media_type=MEDIA)


def dumps(content: Any) -> bytes:
    """JSON; what is not JSON among the values of users' own types is shown as text."""
    return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)

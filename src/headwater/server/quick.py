"""The way past the framework, for the one request that comes by the thousand: the start of a run.

The framework spends more on a request than the start itself does (see `bench server`). So the route is described to it,
as all are, but a request for exactly this path is handed to the same function by hand: gate, body, start, answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from headwater.errors import HeadwaterError
from headwater.server.body import PlainRequest
from headwater.server.problems import Problem, document

LOGGER: Final = logging.getLogger("headwater.server")
Handler = Callable[[PlainRequest], Awaitable[Response]]


class Quick:
    """An application with some requests answered before it."""

    def __init__(self, app: ASGIApp, handlers: Mapping[tuple[str, str], Handler]) -> None:
        self._app, self._handlers = app, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if handle is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await handle(PlainRequest(scope, receive))
        except (HeadwaterError, Problem, RequestValidationError) as error:
            answer = document(error)
        except Exception as error:
            LOGGER.exception("A defect in %s %s", scope["method"], scope["path"])
            answer = document(error)
        await answer(scope, receive, send)

"""Server-sent events: an answer that goes on, and can be taken up again where it broke off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Send

from headwater.log.cursor import Cursor
from headwater.server.feed import Told

MEDIA: Final = "text/event-stream"
BEGIN: Final = b"retry: 1000\n\n"
STILL_HERE: Final = b": still here\n\n"


class EventStream(StreamingResponse):
    """Ends with its client, and then lets go of all that it held."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, media_type=MEDIA, headers={"x-accel-buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


def wants_events(request: Request) -> bool:
    """Whether the client asks to follow: a browser's EventSource does."""
    return MEDIA in request.headers.get("accept", "")


def last_seen(request: Request, after: str | None = None) -> Cursor | None:
    """The cursor after which to go on: what a reconnecting client says it has seen last comes first."""
    token = request.headers.get("last-event-id") or after
    return Cursor.parse(token) if token else None


def beginning(start: Cursor | None) -> bytes:
    """What comes first: where it begins, so that who breaks off before the first event comes back to the same place."""
    return BEGIN if start is None else b"%bid: %b\n\n" % (BEGIN, str(start).encode())


async def as_text(batches: AsyncIterator[list[Told]], start: Cursor | None) -> AsyncGenerator[bytes]:
    """Events as the client reads them."""
    yield beginning(start)
    async for batch in batches:
        yield b"".join([told.text for told in batch]) if batch else STILL_HERE

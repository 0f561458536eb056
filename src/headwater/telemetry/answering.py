"""A few texts over HTTP, for who watches a process: no framework, one answer a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

_MOST: Final = 8192
_PATIENCE: Final = 5.0
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Text(NamedTuple):
    """An answer."""

    body: str
    status: int = 200
    media: str = "application/json"


Texts = Mapping[str, Callable[[], Awaitable[Text]]]


async def answer_texts(host: str, port: int, texts: Texts) -> asyncio.Server:
    """Answer `GET` of each path with its text, until closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                text = await _text(head, texts)
                body = text.body.encode()
                writer.write(
                    f"HTTP/1.1 {text.status} {_REASONS[text.status]}\r\ncontent-type: {text.media}\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, host, port, limit=_MOST)


async def answer_near(
    host: str, port: int, texts: Texts, logger: logging.Logger
) -> tuple[asyncio.Server, str]:
    """The same at a free port where this one is taken, with a warning; and its address."""
    try:
        server = await answer_texts(host, port, texts)
    except OSError as error:
        server = await answer_texts(host, 0, texts)
        logger.warning(
            "Port %d is taken (%s): metrics are at port %d.", port, error.strerror, _port_of(server)
        )
    return server, f"http://{host}:{_port_of(server)}"


async def _text(head: bytes, texts: Texts) -> Text:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if method != "GET":
        return Text('{"status": "only GET"}', 405)
    asked = texts.get(target.partition("?")[0])
    return await asked() if asked else Text('{"status": "no such path"}', 404)


def _port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port

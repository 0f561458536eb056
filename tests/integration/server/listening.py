"""A server that listens in the test's own loop, and a client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import httpx

from headwater import Headwater
from headwater.log.log import Log
from headwater.server.application import create_server
from headwater.server.options import ServerOptions
from headwater.server.serve import listen
from headwater.server.serving import Server
from headwater.worker.start import start


class Place(NamedTuple):
    """A server that answers, its parts, and a client of it."""

    server: Server
    http: httpx.AsyncClient
    address: str
    stop: asyncio.Event


@asynccontextmanager
async def serving(
    app: Headwater, log: Log, options: ServerOptions | None = None, *, worker: bool = False, port: int = 0
) -> AsyncGenerator[Place]:
    options = replace(options or ServerOptions(), port=port)
    application, server = create_server(app, log, options)
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(listen(application, server, stop, listening.set_result))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    works = await start(app, log) if worker else None
    try:
        async with httpx.AsyncClient(base_url=listening.result(), timeout=20) as http:
            yield Place(server, http, listening.result(), stop)
    finally:
        if works is not None:
            await works.stop()
        stop.set()
        await running


async def events_of(answer: httpx.Response) -> AsyncGenerator[dict[str, Any]]:
    """The server-sent events of an answer, as they come; `id` and `event` beside the data."""
    import json

    fields: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if not line:
            if "data" in fields:
                yield {
                    **json.loads(fields["data"]),
                    "sse_id": fields.get("id"),
                    "sse_event": fields.get("event"),
                }
            fields = {}
        elif name:
            fields[name] = value

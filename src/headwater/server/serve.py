"""Listening: a server process, from its first port to its last answer.

Any address but loopback is refused unless a key is required and there is one. On the way out, those who follow are let
go first, since nothing else would end their answers; then requests under way have `grace` seconds.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headwater.app import Headwater
from headwater.errors import SettingRefused
from headwater.log.log import Log
from headwater.server.application import create_server
from headwater.server.options import ServerOptions
from headwater.server.serving import Server

_BACKLOG: Final = 2048


async def check_may_listen(server: Server) -> None:
    """Refuse what would let in anybody."""
    options = server.options
    if options.on_loopback and not options.allowed_hosts and not options.require_key:
        return
    if not options.require_key:
        what = "--host" if not options.on_loopback else "--allow-host"
        raise SettingRefused(
            what, options.host, "a loopback address, or add --require-key: others could reach it"
        )
    now = datetime.now(UTC)
    if not any(key.valid(now) for key in (await server.keyring.access()).keys.values()):
        raise SettingRefused(
            "--require-key", options.host, "it when there is a key: make one with `headwater key create NAME`"
        )


async def serve(
    app: Headwater, log: Log, options: ServerOptions, stop: asyncio.Event, listening: Callable[[str], object]
) -> None:
    """Answer for an app until told to stop. `listening` is told the address when it does."""
    application, server = create_server(app, log, options)
    with app.using(log):
        await listen(application, server, stop, listening)


async def listen(
    application: ASGIApp, server: Server, stop: asyncio.Event, listening: Callable[[str], object]
) -> None:
    """The same, with the parts at hand."""
    options = server.options
    await check_may_listen(server)
    with _bound(options) as listener:
        config = uvicorn.Config(
            application,
            http=_Patient.of(options),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=options.connections,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(options.grace)),
        )
        running = _Quiet(config)
        answering = asyncio.create_task(running.serve([listener]), name="headwater-http")
        stopping = asyncio.create_task(stop.wait())
        listening(_address(listener))
        try:
            await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.feeds.close()
            running.should_exit = True
            stopping.cancel()
            await answering


class _Quiet(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _bound(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise SettingRefused(
            "--port", str(options.port), f"a free port: {options.host}:{options.port}: {error.strerror}"
        ) from None
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Patient(HttpToolsProtocol):
    """A connection whose heads must come whole, soon, and of bounded size: or it is closed."""

    patience = 10.0
    most = 64 * 1024

    @classmethod
    def of(cls, options: ServerOptions) -> type[_Patient]:
        return type("Patient", (cls,), {"patience": options.head_patience, "most": options.max_head})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = 0
        self._late: asyncio.TimerHandle | None = self.loop.call_later(self.patience, self._close)

    def data_received(self, data: bytes) -> None:
        if self._late is None and self._answered():
            self._head = 0
            self._late = self.loop.call_later(self.patience, self._close)
        if self._late is not None:
            self._head += len(data)
        super().data_received(data)
        if self._late is not None and self._head > self.most:
            self._close()

    def _answered(self) -> bool:
        """Whether what comes now is the head of another request."""
        cycle: Any = self.cycle
        return cycle is not None and bool(cycle.response_complete)

    def on_headers_complete(self) -> None:
        self._known()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._known()
        super().connection_lost(exc)

    def _known(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()

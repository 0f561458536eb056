"""What every request passes before any route: its host, its size, the pace of its body; and what every answer carries.

Pure ASGI and no task of its own: a request that is refused has cost nothing but its head. A body is read whole before
the route runs, within `max_body` bytes and `body_patience` seconds. No content encoding is taken, so a body cannot
be larger than it looks. Paths are matched as they came, percent-encoded, so that an id may hold a slash.

The Host check is what keeps a page of the web, whose name an attacker has pointed at 127.0.0.1, from talking to a
server that asks for no key; the Origin check keeps one from posting to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.server.options import LOCAL_NAMES, ServerOptions
from headwater.server.problems import Problem, of_problem

SECURITY: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
_SECURITY: Final = [(name.encode(), value.encode()) for name, value in SECURITY.items()]
_SENDS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Guard:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app, self._options = app, options
        names = {name.lower() for name in options.allowed_hosts}
        self._any_host = options.require_key and not names
        self._hosts = LOCAL_NAMES | names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
                kept = any(name == b"cache-control" for name, _ in own)
                own += _SECURITY[1:] if kept else _SECURITY
            await send(message)

        try:
            self._check_host(headers)
            if scope["method"] in _SENDS:
                self._check_origin(headers)
                receive = await self._whole(headers, receive)
        except Problem as no:
            answer = of_problem(no, {"connection": "close"})
            await answer(scope, receive, guarded)
            return
        scope = (
            {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
            if scope.get("raw_path")
            else scope
        )
        await self._app(scope, receive, guarded)

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        if self._any_host:
            return
        host = _name(_text(headers, b"host"))
        if host not in self._hosts:
            raise Problem(
                421,
                "host_refused",
                f"This server is not called {host[:100]!r}. Allow that name with --allow-host.",
            )

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        origin = _text(headers, b"origin")
        if origin and b"authorization" not in headers:
            _, _, rest = origin.partition("://")
            if rest.lower() != _text(headers, b"host").lower():
                raise Problem(
                    403,
                    "origin_refused",
                    f"Pages of {origin[:100]!r} may not send to this server without a key.",
                )

    async def _whole(self, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """The body, all of it, as one message."""
        if _text(headers, b"content-encoding").lower() not in {"", "identity"}:
            raise Problem(415, "encoding_refused", "Send the body as it is, without a content encoding.")
        most = self._options.max_body
        length = _text(headers, b"content-length") or "0"
        too_large = Problem(413, "body_too_large", f"A body has at most {most:,} bytes.")
        if not length.isdecimal() or int(length) > most:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._options.body_patience):
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return _once(message, receive)
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise too_large
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Problem(408, "body_too_slow", "The body did not arrive in time.") from None
        return _once({"type": "http.request", "body": b"".join(chunks), "more_body": False}, receive)


def _once(message: Message, receive: Receive) -> Receive:
    """Gives one message, then what else comes."""
    given = False

    async def receive_once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return message

    return receive_once


def _name(host: str) -> str:
    """A Host header's name, without the port."""
    host = host.strip().lower()
    name, _, port = host.rpartition(":")
    return (
        name if name and port.isdecimal() and not (name.startswith("[") and not name.endswith("]")) else host
    )


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")

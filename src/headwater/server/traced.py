"""A span for each request, while traces are on: what the runs that it starts go on from."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.telemetry import tracing


class Traced:
    """Wraps an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not tracing.is_on() or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None
        )
        span = tracing.begin(
            f"{scope['method']} {scope['path']}",
            parent,
            kind="server",
            current=True,
            http_request_method=scope["method"],
            url_path=scope["path"],
        )
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if span is not None:
                span.say(http_response_status_code=status)
                span.end(str(status) if status >= 500 else None)

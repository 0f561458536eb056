"""A server that answers every request with the same text."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

_BODY = b'{"run":"01a21be8-fe80-7000-ba37-03e424ef5154","workflow":"one","version":1,"new":true}'


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await receive()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})


async def main() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(answer, lifespan="off", log_level="error", access_log=False, loop="auto")
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

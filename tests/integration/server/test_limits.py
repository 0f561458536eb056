"""What is too large, too deep, too slow or plain nonsense is refused early, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gzip
import json
from urllib.parse import urlsplit

import pytest

from headwater.log.log import Log
from headwater.server.options import ServerOptions
from tests.integration.server.listening import Place, serving
from tests.integration.server.shop import app

TIGHT = ServerOptions(max_body=10_000, body_patience=0.5, head_patience=0.5, max_head=8_000)
JSON = {"content-type": "application/json"}


async def connected(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(place.address)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def test_a_body_is_bounded_whether_it_says_so_or_not(memory: Log) -> None:
    async with serving(app, memory, TIGHT) as place:
        large = json.dumps({"workflow": "approve", "input": {"token": "x" * 20_000}})
        told = await place.http.post("/api/v1/runs", content=large, headers=JSON)
        assert (told.status_code, told.json()["code"]) == (413, "body_too_large")

        reader, writer = await connected(place)
        head = b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"3e8\r\n%b\r\n" % (b"x" * 1000) * 11)
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        writer.close()


async def test_a_bomb_is_not_opened(memory: Log) -> None:
    async with serving(app, memory, TIGHT) as place:
        bomb = gzip.compress(b"0" * 5_000_000)
        headers = JSON | {"content-encoding": "gzip"}
        answer = await place.http.post("/api/v1/runs", content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "encoding_refused")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 4000 + b"]" * 4000,
        b'{"workflow":' * 700 + b"1" + b"}" * 700,
        b'{"workflow": NaN}',
        b'{"workflow": "approve"',
        b"\xff\xfe",
        b"",
    ],
)
async def test_bodies_that_are_no_json_to_take(memory: Log, body: bytes) -> None:
    async with serving(app, memory, TIGHT) as place:
        answer = await place.http.post("/api/v1/runs", content=body, headers=JSON)
        assert answer.status_code in {400, 422}, answer.text
        other = await place.http.post("/api/v1/runs", content=b'{"workflow": "approve"}')
        assert (other.status_code, other.json()["code"]) == (415, "media_type_refused")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"",
    ],
)
async def test_who_dribbles_is_let_go(memory: Log, sent: bytes) -> None:
    async with serving(app, memory, TIGHT) as place:
        reader, writer = await connected(place)
        writer.write(sent)
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert not answer or answer.startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_head_is_bounded(memory: Log) -> None:
    async with serving(app, memory, TIGHT) as place:
        reader, writer = await connected(place)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Much: " + b"x" * 100_000)
        async with asyncio.timeout(5):
            assert not await reader.read()
        writer.close()


async def test_a_kept_connection_is_good_for_many_requests_and_bounded_for_each(memory: Log) -> None:
    async with serving(app, memory, TIGHT) as place:
        reader, writer = await connected(place)
        for _ in range(20):  # together longer than a head may take, and larger
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Some: " + b"x" * 1000 + b"\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(b'{"status":"ok"}'))
            await asyncio.sleep(0.05)
        writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        async with asyncio.timeout(5):
            assert not await reader.read()
        writer.close()


async def test_every_answer_carries_the_security_headers(memory: Log) -> None:
    async with serving(app, memory) as place:
        for path in ("/", "/api/v1/runs", "/nothing", "/page/page.js", "/api/v1/openapi.json"):
            headers = (await place.http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "server" not in headers

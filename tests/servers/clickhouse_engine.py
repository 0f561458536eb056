"""ClickHouse's engine behind ClickHouse's HTTP: `clickhouse_engine.py FOLDER PORT USER:PASSWORD`.

No server can be had from a package registry, but its engine can (chdb). The statements, and the blocks that the client
sends and reads, are the engine's; what is made here is the little HTTP around them. A file `lose` in the folder has the
next insert be done and not be answered.
"""

import base64
import os
import re
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import zstandard
from chdb.session import Session

# What a request says besides settings.
NO_SETTINGS = {
    "query",
    "database",
    "client_protocol_version",
    "wait_end_of_query",
    "enable_http_compression",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "query_id",
}
INSERT = re.compile(rb"\s*(INSERT INTO .*?) FORMAT (\w+)\s(.*)", re.DOTALL)


def unpacked(data: bytes, encoding: str | None) -> bytes:
    match encoding:
        case None:
            return data
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        case "lz4":
            import lz4.frame

            plain: bytes = lz4.frame.decompress(data)
            return plain
        case _:
            raise ValueError(f"This server does not read {encoding}")


class Engine:
    """One session of the engine, which takes one statement after the other."""

    def __init__(self, folder: Path) -> None:
        self._session = Session(str(folder / "data"))
        self._turn = Lock()

    def run(self, statement: bytes, settings: dict[str, str]) -> tuple[bytes, str]:
        with self._turn:
            for name, value in settings.items():
                self._session.query(f"SET {name} = '{value}'")
            if insert := INSERT.match(statement):
                with self._session.send_insert(insert[1].decode(), insert[2].decode()) as inserting:
                    inserting.append(insert[3])
                    inserting.finish()
                return b"", ""
            native = statement.rstrip().endswith(b"FORMAT Native")
            kind = "Native" if native else "TabSeparated"
            return self._session.query(statement.decode(), kind).bytes() or b"", kind


def handler(engine: Engine, folder: Path, login: str) -> type[BaseHTTPRequestHandler]:
    known = "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer is one packet

        def do_POST(self) -> None:
            said = dict(parse_qsl(urlsplit(self.path).query))
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunked()
            data = unpacked(data, self.headers.get("Content-Encoding"))
            statement = said["query"].encode() + b"\n" + data if "query" in said else data
            settings = {name: value for name, value in said.items() if name not in NO_SETTINGS}
            if self.headers.get("Authorization") != known:
                return self._answer(401, b"Code: 516. DB::Exception: Authentication failed", error="516")
            try:
                answer, kind = engine.run(statement, settings)
            except RuntimeError as error:
                code = str(error).partition("Code: ")[2].partition(".")[0]
                return self._answer(500, str(error).encode(), error=code)
            if statement.startswith(b"INSERT") and (folder / "lose").exists():
                (folder / "lose").unlink()
                self.close_connection = True
                return None
            return self._answer(200, answer, kind=kind)

        do_GET = do_POST  # noqa: N815

        def _chunked(self) -> bytes:
            found = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            return found

        def _answer(self, status: int, body: bytes, *, kind: str = "", error: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if kind:
                self.send_header("X-ClickHouse-Format", kind)
            if error:
                self.send_header("X-ClickHouse-Exception-Code", error)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """What goes wrong is said, requests are not."""

        log_error: Callable[..., None] = BaseHTTPRequestHandler.log_message

    return Handler


def main(folder: Path, port: int, login: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler(Engine(folder), folder, login))
    (folder / "pid").write_text(str(os.getpid()))
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

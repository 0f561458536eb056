"""Another peer's process: python -m bench.workflows.restate_side FOLDER

It starts Restate's own server (`restate-server`, from the npm package @restatedev/restate-server) with its defaults and
its data in FOLDER, serves the same workflows with its Python SDK from granian, and calls them over
HTTP. It is told what to do as `dbos_side` is.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import restate

from bench.harness import new_runner, together
from tests.servers.ports import free_port

service = restate.Service("bench")


async def number(n: int) -> int:
    return n


@service.handler()
async def ten(ctx: restate.Context, n: int) -> int:
    total = 0
    for each in range(10):
        total += await ctx.run_typed("number", number, n=each)
    return total + n


@service.handler()
async def one(ctx: restate.Context, n: int) -> int:
    result: int = await ctx.run_typed("number", number, n=n)
    return result


app = restate.app(services=[service])


class Http:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Any) -> Any:
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._port)
        out, data = self._ends[1], json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        out.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        status, said = await self._answer(self._ends[0])
        assert 200 <= status < 300, f"{path}: {status} {said!r}"
        return json.loads(said) if said else None

    async def _answer(self, source: asyncio.StreamReader) -> tuple[int, bytes]:
        status = int((await source.readline()).split()[1])
        length, chunked = 0, False
        while (line := (await source.readline()).strip().lower()) != b"":
            length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
            chunked = chunked or line == b"transfer-encoding: chunked"
        if not chunked:
            return status, await source.readexactly(length)
        said = b""
        while size := int(await source.readline(), 16):
            said += await source.readexactly(size)
            await source.readline()
        await source.readline()
        return status, said


async def measure(port: int, name: str, callers: int, runs: int) -> list[float]:
    least = 45 if name == "ten" else 0
    numbers = iter(range(runs))
    taken: list[float] = []

    async def caller(_: int) -> None:
        http = Http(port)
        for n in numbers:
            started = time.perf_counter()
            assert await http.post(f"/bench/{name}", n) == least + n
            taken.append(time.perf_counter() - started)

    started = time.perf_counter()
    await together(callers, caller)
    return [*taken, time.perf_counter() - started]


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment},
            start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def patiently(port: int, path: str, body: Any) -> None:
    """Until the other side is up."""
    async with asyncio.timeout(40):
        while True:
            try:
                await Http(port).post(path, body)
            except (OSError, AssertionError, IndexError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.2)
            else:
                return


async def main(ingress: int, admin: int, serving: int) -> None:
    loop = asyncio.get_running_loop()
    await patiently(admin, "/deployments", {"uri": f"http://127.0.0.1:{serving}"})
    await patiently(ingress, "/bench/ten", 0)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, callers, runs = line.split()
        print(json.dumps(await measure(ingress, name, int(callers), int(runs))), flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    ingress, admin, node, serving = (free_port() for _ in range(4))
    server = shutil.which("restate-server")
    assert server is not None
    granian = [sys.executable, "-m", "granian", "--interface", "asgi", "--http", "2", "--workers", "1"]
    target = ["--host", "127.0.0.1", "--port", str(serving), "bench.workflows.restate_side:app"]
    with (
        running(
            [server, "--base-dir", str(folder), "--node-name", "bench"],
            folder / "server.log",
            RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{ingress}",
            RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{admin}",
            RESTATE_BIND_ADDRESS=f"127.0.0.1:{node}",
            RESTATE_LISTEN_MODE="tcp",
            DO_NOT_TRACK="1",
        ),
        running([*granian, *target], folder / "sdk.log"),
        new_runner() as runner,
    ):
        runner.run(main(ingress, admin, serving))

"""Servers and workers of ours as processes, the compiled load client, and a bare server to compare with."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.servers.debian import find_program

WHERE = "bench.server.program:app"


@asynccontextmanager
async def command(url: str, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """A command of ours, and what it says when it is ready."""
    program = [sys.executable, "-m", "headwater", "--json", "--url", url, *arguments]
    async with _process(program) as process:
        assert process.stdout is not None
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 60))


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """The same HTTP server without anything of ours behind it: what HTTP itself costs here."""
    async with _process([sys.executable, "-m", "bench.server.bare"]) as process:
        assert process.stdout is not None
        yield (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


@asynccontextmanager
async def _process(program: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def posts_a_second(address: str, script: Path, seconds: float, connections: int = 32) -> float:
    """Answers a second of a compiled client on kept connections; every one of them must be a success."""
    program, prefix = find_program("usr/bin/wrk", "wrk")
    asked = [*map(str, prefix), str(program), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    process = await asyncio.create_subprocess_exec(
        *asked, "-s", str(script), f"{address}/api/v1/runs", stdout=asyncio.subprocess.PIPE
    )
    out = (await process.communicate())[0].decode()
    assert "Non-2xx" not in out, out
    assert "Socket errors" not in out, out
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found, out
    return float(found[1])


def post_script(folder: Path) -> Path:
    """What the load client sends."""
    script = folder / "start.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["content-type"] = "application/json"\n'
        """wrk.body = '{"workflow": "one", "input": {"n": 1}}'\n"""
    )
    return script

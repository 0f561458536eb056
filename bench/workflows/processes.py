"""Other processes: workers of ours, and the peer. They end when their standard input does, at the latest."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

MISSING = "DBOS is not installed: `make bench-workflows` installs the peer"
_START = 60


class Process:
    """A process of the benchmark that has said `ready`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, line: str, timeout: float = 300) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self.read(timeout)

    async def read(self, timeout: float = 300) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            said = await self._process.stdout.readline()
        assert said, f"process {self.pid} has ended"
        return said.decode().strip()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def memory(self) -> float:
        """Resident, in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def process(module: str, *arguments: str) -> AsyncIterator[Process]:
    made = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    running = Process(made)
    try:
        said = await running.read(_START)
        assert said == "ready", f"{module} said {said!r}"
        yield running
    finally:
        await running.end()


@asynccontextmanager
async def worker(url: str, **options: float | bool) -> AsyncIterator[Process]:
    """A worker of ours in its own process; see `bench.workflows.worker`."""
    async with process("bench.workflows.worker", url, json.dumps(options)) as running:
        yield running


class Peer:
    """A peer, in its own process: DBOS or Restate."""

    def __init__(self, running: Process) -> None:
        self._process = running

    async def taken(self, workflow: str, callers: int, runs: int) -> list[float]:
        """The seconds of each run, and of all together."""
        taken: list[float] = json.loads(await self._process.ask(f"{workflow} {callers} {runs}"))
        return taken

    async def rate(self, callers: int, runs: int) -> float:
        """Workflows a second."""
        return runs / (await self.taken("ten", callers, runs))[-1]


@asynccontextmanager
async def peer(address: str) -> AsyncIterator[Peer | None]:
    """None where it is not installed, or has no backend of that kind."""
    if not address or find_spec("dbos") is None:
        yield None
        return
    async with process("bench.workflows.dbos_side", address) as running:
        yield Peer(running)


@asynccontextmanager
async def restate(folder: str) -> AsyncIterator[Peer | None]:
    """None where its server (`restate-server` on the path) or its SDK is not there, or no folder is given."""
    if not folder or shutil.which("restate-server") is None or find_spec("restate") is None:
        yield None
        return
    async with process("bench.workflows.restate_side", folder) as running:
        yield Peer(running)

"""The command as users run it: its own process, on SQLite and on Postgres."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater import Log, NewEvent, RawEvent, Stream, Write, open_log
from tests.servers.postgres import run_aside

PROGRAM = Path(sys.executable).with_name("headwater")
EVIL = "\x1b]0;owned\x07[bold red]x[/]\u202e\ud800\0\x9b31m"


def environment(**more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_") and k != "NO_COLOR"}
    return {**clean, **more}


@dataclass(frozen=True)
class Command:
    """Runs the command in a folder, on a log."""

    folder: Path
    url: str

    def __call__(
        self, *arguments: str, stdin: str | bytes | None = None, url: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=environment(HEADWATER_URL=url or self.url, **env),
            input=stdin if not isinstance(stdin, bytes) else stdin.decode(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=environment(HEADWATER_URL=self.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )

    def fill(self, work: Callable[[Log], Any]) -> None:
        """Do something with the log, from this process."""

        async def run() -> None:
            async with open_log(self.url) as log:
                await work(log)

        run_aside(run())


@pytest.fixture(params=["sqlite", "postgres"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """The command on an empty log."""
    if request.param == "sqlite":
        empty = Command(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")
        empty.fill(lambda log: log.head())
        return empty
    database = request.getfixturevalue("postgres_database")
    return Command(tmp_path, database.worker_url)


@pytest.fixture
def shop(command: Command) -> Command:
    """The command on a log of five events: two orders, one of them evil, and a large one of another tenant."""

    async def fill(log: Log) -> None:
        order = Stream("order", "o-1")
        await log.append(Write(order, [RawEvent("order_placed", {"cents": 700})]))
        await log.append(Write(order, [NewEvent(event=RawEvent("order_paid", {"cents": 700}), run_id="r-1")]))
        await log.append(Write(order, [RawEvent("order_shipped", {"carrier": "x"})]))
        await log.append(Write(Stream("note", "n/1"), [RawEvent("note_taken", {"text": EVIL})]))
        large = await asyncio.to_thread(os.urandom, 100_000)
        await log.append(Write(Stream("doc", "d-1", "acme"), [RawEvent("doc_stored", {"hex": large.hex()})]))

    command.fill(fill)
    return command

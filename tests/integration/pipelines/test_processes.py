"""Commands from several processes, some of which are killed: each counts once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.log.open import open_log
from headwater.pipelines.dispatch import Dispatcher, queue_of
from headwater.pipelines.events import CommandHandled
from headwater.testing.invariants import check
from tests.integration.pipelines.accounts import accounts

ROOT = Path(__file__).parents[3]
COMMANDS = 60


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/shop.db"
        asyncio.run(each_counts_once(made, commands=0))
        return made
    address: str = request.getfixturevalue("postgres_database").worker_url
    return address


@contextmanager
def sender(url: str, *how: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.pipelines.sender", url, "0", str(COMMANDS), *how]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def sent(process: subprocess.Popen[str], number: int) -> None:
    """It has sent so many."""
    assert process.stdout is not None
    for _ in range(number):
        assert process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> int:
    """How many of the commands were new to it."""
    said, _ = process.communicate(timeout=40)
    return int(said.split()[-1])


async def each_counts_once(url: str, *, commands: int = COMMANDS) -> None:
    async with open_log(url) as log:
        service = accounts().on(log)
        await check(log)
        balances = [(await service.fetch(f"a{n}")).state.cents for n in range(3)]
        assert balances == [sum(range(n, commands, 3)) for n in range(3)]
        events = [recorded.event async for recorded in log.read(stream_types=("command",))]
        handled = Counter(event.key for event in events if isinstance(event, CommandHandled))
        assert handled == Counter(f"k{n}" for n in range(commands))


def test_two_processes_send_the_same_commands_at_once(url: str) -> None:
    with sender(url) as one, sender(url) as other:
        assert ended(one) + ended(other) == COMMANDS
    asyncio.run(each_counts_once(url))


def test_what_a_killed_process_had_sent_counts_once_when_all_is_sent_again(url: str) -> None:
    with sender(url) as first:
        sent(first, 5)
        first.kill()
        first.wait()
    with sender(url) as second:
        assert ended(second) <= COMMANDS - 5
    asyncio.run(each_counts_once(url))


def test_what_a_killed_process_had_accepted_is_handled_once(url: str) -> None:
    with sender(url, "send") as first:
        sent(first, 5)
        first.kill()
        first.wait()
    with sender(url, "send") as second, sender(url) as directly:
        assert ended(second) <= COMMANDS - 5
        ended(directly)

    async def work() -> None:
        async with open_log(url) as log:
            pipeline = accounts()
            worker = Dispatcher(log, pipeline.name, pipeline.commander(log))
            await worker.start()
            async with asyncio.timeout(30):
                while await log.backend.ready(None, queue_of("accounts")):
                    await asyncio.sleep(0.02)
            await worker.stop()

    asyncio.run(work())
    asyncio.run(each_counts_once(url))

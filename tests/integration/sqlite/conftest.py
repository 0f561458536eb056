"""A file for each test, and other processes that write to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.log.log import Log
from headwater.log.sqlite.backend import SqliteBackend

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Log:
    """A log on the test's file, to be opened."""
    return Log(SqliteBackend(path))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `tests.integration.sqlite.process` with arguments; it is killed when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.integration.sqlite.process", *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()

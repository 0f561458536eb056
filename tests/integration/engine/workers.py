"""Worker processes for tests: started, stopped, killed, by their own ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parents[3]
APP = "tests.integration.engine.shop:app"


class WorkerProcess:
    """`headwater worker` in a process of its own."""

    def __init__(self, url: str, *options: str, effects: Path | None = None) -> None:
        command = [sys.executable, "-m", "headwater", "worker", APP, "--url", url, "--json", *options]
        environment = os.environ | {
            "EFFECTS": str(effects or ""),
            "PYTHONPATH": f"{HERE / 'src'}{os.pathsep}{HERE}",
        }
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("SHOW") else None,
            text=True,
        )
        self._said: list[str] = []

    def wait_until_it_serves(self) -> WorkerProcess:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert json.loads(line)["event"] == "serving", line
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.thaw()
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def worker(url: str, *options: str, effects: Path | None = None) -> Iterator[WorkerProcess]:
    process = WorkerProcess(url, *options, effects=effects)
    try:
        yield process.wait_until_it_serves()
    finally:
        process.end()


def effects_in(file: Path) -> list[tuple[str, str, int, int]]:
    """What happened outside: what, key, attempt, process."""
    if not file.exists():
        return []
    lines = (line.split(" ") for line in file.read_text().splitlines())
    return [(what, key, int(attempt), int(pid)) for what, key, attempt, pid in lines]

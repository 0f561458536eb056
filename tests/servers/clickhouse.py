"""A ClickHouse on loopback: its real engine, behind HTTP of our own (see `clickhouse_engine`)."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Self

from tests.servers.ports import free_port
from tests.servers.process import Account, ServerFailed, ServerProcess, launched

ENGINE = Path(__file__).with_name("clickhouse_engine.py")


class ClickHouseServer:
    """One ClickHouse. What it has acknowledged is there again after `kill` and `start`, but not after `wipe`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"clickhouse://worker:sesame@127.0.0.1:{self.port}/default"
        self._account = Account(os.geteuid(), os.getegid())
        self.folder = self._account.new_folder("headwater-clickhouse-")
        self._process: ServerProcess | None = None

    @classmethod
    def launch(cls) -> Self:
        return launched(cls())

    def start(self) -> None:
        pid = self.folder / "pid"
        pid.unlink(missing_ok=True)
        command = [sys.executable, ENGINE, self.folder, str(self.port), "worker:sesame"]
        self._process = ServerProcess(self._account, self.folder, command, self.folder / "log")
        deadline = time.monotonic() + 40
        while self._process.running and time.monotonic() < deadline:
            if pid.exists() and pid.read_text():
                return
            time.sleep(0.02)
        raise ServerFailed(f"ClickHouse did not start:\n{self._process.said()}")

    def lose_an_answer(self) -> None:
        """Have the next insert be done, and not be answered."""
        (self.folder / "lose").touch()

    @property
    def lost_it(self) -> bool:
        return not (self.folder / "lose").exists()

    def kill(self) -> None:
        if self._process is not None:
            self._process.end(int((self.folder / "pid").read_text()), signal.SIGKILL)

    def wipe(self) -> None:
        """Forget everything, while it is down."""
        shutil.rmtree(self.folder / "data")

    def close(self) -> None:
        if self._process is not None and self._process.running:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

"""A real Redis, from the PATH or from Debian's package (see `debian`): on loopback, and forgetful."""

import os
import shutil
import signal
import socket
import time
from functools import cache
from pathlib import Path
from typing import Self

from tests.servers.debian import find_program
from tests.servers.ports import free_port
from tests.servers.process import ServerFailed, ServerProcess, launched, server_account


class RedisServer:
    """One Redis. It keeps nothing: after `kill` and `start` it is empty."""

    def __init__(self, password: str) -> None:
        self.port = free_port()
        self.password = password
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        self.folder = server_account().new_folder("headwater-redis-")
        self._process: ServerProcess | None = None

    @classmethod
    def launch(cls, password: str = "sesame") -> Self:
        return launched(cls(password))

    def start(self) -> None:
        program, prefix = redis_program()
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self.password,
            "save": "",
            "appendonly": "no",
            "dir": self.folder,
            "pidfile": self.folder / "pid",
            "daemonize": "no",
        }
        command: list[str | Path] = [*prefix, program]
        for name, value in settings.items():
            command += [f"--{name}", str(value)]
        (self.folder / "pid").unlink(missing_ok=True)
        self._process = ServerProcess(server_account(), self.folder, command, self.folder / "log")
        deadline = time.monotonic() + 20
        while self._process.running and time.monotonic() < deadline:
            try:
                if self.ask("PING") == "PONG":
                    return
            except OSError:
                time.sleep(0.02)
        raise ServerFailed(f"Redis did not start:\n{self._process.said()}")

    def groups(self, stream: str) -> int:
        """How many consumer groups a stream has."""
        return int(self.ask("XINFO", "GROUPS", stream).lstrip("*"))

    def ask(self, *words: str) -> str:
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            for command in (("AUTH", self.password), words):
                sent = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                connection.sendall(f"*{len(command)}\r\n{sent}".encode())
                answer = connection.recv(65536).decode()
        return answer.splitlines()[0].lstrip("+:")

    def signal(self, how: signal.Signals) -> None:
        """Send the server a signal: SIGSTOP makes it slow without end, until SIGCONT."""
        os.kill(self._pid(), how)

    def kill(self) -> None:
        if self._process is not None:
            self._process.end(self._pid(), signal.SIGKILL)

    def close(self) -> None:
        if self._process is not None and self._process.running:
            self.signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pid(self) -> int:
        return int((self.folder / "pid").read_text())


@cache
def redis_program() -> tuple[Path, tuple[str | Path, ...]]:
    """The program, and what its command begins with."""
    return find_program("usr/bin/redis-server", "redis-server", "redis-tools")

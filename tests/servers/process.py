"""A server process under the watchdog, as an account that servers accept to run as."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

WATCHDOG = Path(__file__).with_name("watchdog.py")


class ServerFailed(Exception):
    """The server did not start, or did not stop."""


@dataclass(frozen=True)
class Account:
    """Who a server runs as: ourselves, or somebody else when we are root, which servers refuse to be."""

    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        return self.uid == os.geteuid()

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a short command as this account."""
        arguments = [str(part) for part in command]
        if self.is_us:
            return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
        return subprocess.run(
            arguments,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            user=self.uid,
            group=self.gid,
            extra_groups=[],
        )

    def can_run(self, program: Path) -> bool:
        return self.run("test", "-x", program, cwd=Path("/")).returncode == 0

    def new_folder(self, prefix: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        if not self.is_us:
            os.chown(folder, self.uid, self.gid)
        return folder


@cache
def server_account() -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ServerFailed("Servers refuse to run as root and there is no account postgres or nobody: make one")


def runnable(root: Path, program: str, parts: Sequence[str]) -> Path:
    """`root` if servers can run `program` in it, else a copy of the parts it needs, made once per version."""
    account = server_account()
    if account.can_run(root / program):
        return root
    state = (root / program).stat()
    key = sha256(f"{root}:{parts}:{state.st_size}:{state.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = Path(tempfile.gettempdir()) / f"headwater-servers-{os.geteuid()}-{key}"
    if not copy.exists():
        making = Path(tempfile.mkdtemp(prefix="headwater-servers-"))
        for part in parts:
            if (root / part).exists():
                shutil.copytree(root / part, making / part, symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
        try:
            making.rename(copy)
        except OSError:  # another session was first
            shutil.rmtree(making)
    if copy.stat().st_uid != os.geteuid() or not account.can_run(copy / program):
        raise ServerFailed(f"{program} of {root} does not run as uid {account.uid}, nor does its copy {copy}")
    return copy


class ServerProcess:
    """A running server; its folder and process go when it is closed, or when this process dies."""

    def __init__(self, account: Account, folder: Path, command: Sequence[str | Path], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-S", "-E", WATCHDOG, f"{account.uid}:{account.gid}", folder, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests
            )

    @property
    def running(self) -> bool:
        return self._watchdog.poll() is None

    def end(self, pid: int, how: signal.Signals, timeout: float = 30) -> None:
        """Signal the server and wait until it is gone."""
        os.kill(pid, how)
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise ServerFailed(f"The server did not stop after {how.name}: {self.said()}")
            time.sleep(0.01)
        self._close_pipe()

    def kill(self) -> None:
        """Let the watchdog end the server and remove its folder."""
        self._close_pipe()
        self._watchdog.wait(30)

    def _close_pipe(self) -> None:
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()

    def said(self) -> str:
        try:
            return self.log.read_text(errors="replace")[-3000:]
        except OSError:
            return "(no output)"


class _Server(Protocol):
    def start(self) -> None: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=_Server)


def launched(server: S) -> S:
    """A server that has started, or nothing that is left of it."""
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server

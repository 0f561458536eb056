"""Hints between processes: a datagram that says how far the log reaches, or a glance at the file's data version.

Each process that waits binds a Unix datagram socket in a folder beside the file; whoever has appended sends one small
datagram to each. Nothing is waited for: a full socket holds hints enough, and one without a process is removed.
Where that is not to be had (no Unix sockets, a path too long for one, a folder that cannot be written, an event loop
without readers) the waiter looks at SQLite's data version, every few milliseconds after a change and ever less often
in quiet, which costs microseconds a look. Truth is never in a hint: the log itself is read after each wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from headwater.log.heard import Heard, say

_MAX_PATH = 100
_QUICK, _SLOW, _SLOWER = 0.005, 0.2, 1.5


class FileHints:
    """Hints of one process about one file."""

    def __init__(
        self, path: Path, data_version: Callable[[], Awaitable[int]], *, sockets: bool = True
    ) -> None:
        self._folder = path.with_name(f"{path.name}-hints").absolute()
        self._data_version = data_version
        self._mine = self._folder / f"{os.getpid()}-{uuid4().hex[:8]}"
        self._sockets = sockets and hasattr(socket, "AF_UNIX") and len(os.fsencode(self._mine)) <= _MAX_PATH
        self._inbox: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: socket.socket | None = None
        self._peers: list[str] = []
        self._folder_time = -1
        self._heard = Heard()
        self._last_version: int | None = None

    def announce(self, shard: int, position: int) -> None:
        """Tell every other process that waits."""
        if not self._sockets:
            return
        said = say(shard, position).encode()
        for peer in self._list_peers():
            try:
                self._out().sendto(said, peer)
            except BlockingIOError:
                pass  # it has hints it did not look at yet
            except (ConnectionRefusedError, FileNotFoundError):
                with suppress(OSError):
                    os.unlink(peer)
            except OSError:
                pass  # it will poll

    async def wait(self, timeout: float) -> int | None:
        """Return when hinted, or after `timeout` seconds."""
        if self._listen():
            return await self._heard.wait(timeout)
        await self._wait_for_version(timeout)
        return None

    async def _wait_for_version(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + timeout, _QUICK
        while True:
            version = await self._data_version()
            if version != self._last_version:
                self._last_version = version
                return
            left = deadline - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(pause * _SLOWER, _SLOW)

    def _listen(self) -> bool:
        """Have a socket of our own, if that can be."""
        loop = asyncio.get_running_loop()
        if self._inbox is not None and self._loop is loop:
            return True
        if not self._sockets:
            return False
        self._stop_listening()
        inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        inbox.setblocking(False)
        try:
            self._folder.mkdir(exist_ok=True)
            inbox.bind(str(self._mine))
            loop.add_reader(inbox.fileno(), self._hear)
        except (OSError, NotImplementedError):
            inbox.close()
            self._sockets = False
            self._remove()
            return False
        self._inbox, self._loop = inbox, loop
        return True

    def _hear(self) -> None:
        inbox = self._inbox
        if inbox is None:
            return
        said: list[bytes] = []
        with suppress(OSError):
            while datagram := inbox.recv(32):
                said.append(datagram)
        if len(said) == 1:
            self._heard.hear_said(said[0].decode(errors="replace"))
        elif said:
            self._heard.hear()  # there may have been more than the socket holds

    def _list_peers(self) -> list[str]:
        """The other sockets in the folder, listed again when the folder has changed."""
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except OSError:
            return []
        if changed != self._folder_time:
            with suppress(OSError):
                self._peers = [
                    os.path.join(self._folder, name)
                    for name in os.listdir(self._folder)
                    if name != self._mine.name
                ]
                self._folder_time = changed
        return self._peers

    def _out(self) -> socket.socket:
        if self._outbox is None:
            self._outbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._outbox.setblocking(False)
        return self._outbox

    def close(self) -> None:
        """Leave nothing behind."""
        self._stop_listening()
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    def _stop_listening(self) -> None:
        if self._inbox is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._inbox.fileno())
            self._inbox.close()
            self._inbox = self._loop = None
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            self._mine.unlink()
        with suppress(OSError):
            self._folder.rmdir()

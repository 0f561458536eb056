"""Where the log of a simulated world lies: one memory backend for all, or a SQLite file or a Postgres database with a
backend a process."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

from headwater.events.clock import Clock
from headwater.log.memory import MemoryBackend
from headwater.log.port import Backend

Kept = Literal["memory", "sqlite", "postgres"]


class Storage(Protocol):
    """What outlives the processes."""

    remote: bool

    def backend(self, clock: Clock) -> Backend:
        """A backend for one process."""
        ...

    def crashed(self, backend: Backend) -> None:
        """The process of this backend is gone: let go of what the operating system would."""
        ...

    def left(self) -> list[str]:
        """What is still open though everybody has closed."""
        ...

    def close(self) -> None: ...


class MemoryStorage:
    """A server with one log in its memory."""

    remote = True

    def __init__(self, clock: Clock, incarnation: UUID) -> None:
        self._backend = MemoryBackend(clock=clock, incarnation=incarnation)

    def backend(self, clock: Clock) -> Backend:
        return self._backend

    def crashed(self, backend: Backend) -> None:
        pass

    def left(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class SqliteStorage:
    """A real file, in memory where the system has such a place."""

    remote = False

    def __init__(self, clock: Clock, incarnation: UUID) -> None:
        self._clock = clock
        self._folder = Path(tempfile.mkdtemp(prefix="headwater-simulation-", dir=_place()))
        self.path = self._folder / "log.db"
        self.path.write_bytes(_empty_log(incarnation))

    def backend(self, clock: Clock) -> Backend:
        from headwater.log.sqlite.backend import SqliteBackend

        return SqliteBackend(self.path, clock=self._clock, in_thread=True, hint_sockets=False)

    def crashed(self, backend: Backend) -> None:
        from headwater.log.sqlite.backend import SqliteBackend

        if isinstance(backend, SqliteBackend):
            backend.abandon()

    def left(self) -> list[str]:
        import apsw

        mine = str(self.path.resolve())
        open_ = [
            f"connection to {self.path.name}"
            for connection in apsw.connections()
            if connection.filename == mine
        ]
        return open_ + sorted(file.name for file in self._folder.iterdir() if file != self.path)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def open_storage(kept: Kept, clock: Clock, incarnation: UUID, url: str | None = None) -> Storage:
    match kept:
        case "memory":
            return MemoryStorage(clock, incarnation)
        case "sqlite":
            return SqliteStorage(clock, incarnation)
        case "postgres":
            from headwater.testing.simulation.postgres import PostgresStorage

            return PostgresStorage(url, clock, incarnation)


def _place() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@lru_cache(maxsize=8)
def _empty_log(incarnation: UUID) -> bytes:
    """The bytes of a new log, with an incarnation that the seed knows."""
    import apsw

    from headwater.events.clock import ManualClock
    from headwater.log.sqlite import opening

    with tempfile.TemporaryDirectory(dir=_place()) as folder:
        path = Path(folder) / "log.db"
        connection = opening.connect(path)
        opening.prepare(connection, path, ManualClock(), migrate=None, incarnation=incarnation)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()
        return path.read_bytes()

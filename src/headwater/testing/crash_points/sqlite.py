"""Points in a SQLite log: every statement, and every byte that goes to the disk.

SQLite itself tells when a statement begins and ends (trace). A virtual file system between SQLite and the operating
system tells of each write, sync, truncation and removal. Both are hung in from outside, for every connection that
this process opens.

With `power`, death takes what was written and not synced along, as a power cut may: a log that does without
`synchronous=FULL` survives a killed process, but not that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import apsw

from headwater.log.port import Backend
from headwater.log.sqlite.backend import SqliteBackend
from headwater.testing.crash_points.points import Points

_BEGINS, _ENDS, _CLOSES = apsw.SQLITE_TRACE_STMT, apsw.SQLITE_TRACE_PROFILE, apsw.SQLITE_TRACE_CLOSE


class SqliteStage:
    """A folder with two log files."""

    table: str | None = "CREATE TABLE IF NOT EXISTS notes (text TEXT)"
    note = "INSERT INTO notes VALUES (?)"

    def __init__(self, folder: str, *, power: bool = False) -> None:
        self.folder, self.power = Path(folder), power

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def tap(self, points: Points) -> None:
        self._disk = _Disk(points)
        if self.power:
            points.last_wish = self._disk.cut_power
        apsw.connection_hooks.append(lambda connection: _trace(connection, points))

    def backend(self, name: str) -> Backend:
        return SqliteBackend(self.folder / f"{name}.db", hint_sockets=False, in_thread=False)

    async def notes(self) -> list[str]:
        connection = apsw.Connection(str(self.folder / "main.db"))
        try:
            rows: Iterable[tuple[object]] = cast(Any, connection).execute("SELECT text FROM notes")
            return [str(text) for (text,) in rows]
        finally:
            connection.close()

    def leftovers(self) -> list[str]:
        return sorted({entry.name for entry in self.folder.iterdir()} - {"main.db", "copy.db"})


def _trace(connection: apsw.Connection, points: Points) -> None:
    running: dict[int, str] = {}

    def tell(event: Mapping[str, Any]) -> None:
        match event["code"]:
            case code if code == _BEGINS:
                sql = running[event["id"]] = " ".join(event["sql"].split())[:60]
                points.reach(f"before {sql}")
            case code if code == _ENDS:
                points.reach(f"after {running.get(event['id'], '?')}")
            case _:
                points.reach("before the connection closes")

    cast(Any, connection).trace_v2(_BEGINS | _ENDS | _CLOSES, tell)


class _Disk(apsw.VFS):
    """The operating system's files, watched."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.unsynced: dict[str, list[tuple[int, bytes, int]]] = {}
        self.system = apsw.vfs_names()[0]
        super().__init__("crash_points", self.system, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        self.points.reach(f"before removing {Path(filename).name}")
        super().xDelete(filename, syncdir)

    def cut_power(self) -> None:
        """Undo what was written since each file's last sync, newest first."""
        for path, changes in self.unsynced.items():
            descriptor = os.open(path, os.O_RDWR)
            for offset, before, size in reversed(changes):
                os.pwrite(descriptor, before, offset)
                os.ftruncate(descriptor, size)


class _File(apsw.VFSFile):
    """A file with a point before every change; the one after a change is the next one's."""

    def __init__(self, disk: _Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.system, name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""

    def _change(self, what: str, offset: int, length: int) -> None:
        self._disk.points.reach(f"before {what} {Path(self._path).name}")
        if self._path:
            size = self.xFileSize()
            before = self.xRead(min(length, size - offset), offset) if offset < size else b""
            self._disk.unsynced.setdefault(self._path, []).append((offset, before, size))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._change(f"writing {len(data)} bytes of", offset, len(data))
        cast(Any, super()).xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._change("truncating", newsize, self.xFileSize())
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._disk.points.around(f"syncing {Path(self._path).name}"):
            super().xSync(flags)
            self._disk.unsynced.pop(self._path, None)

"""What is looked at where the log is a SQLite file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import apsw

from headwater.cli.checks.finding import Finding, judged
from headwater.errors import NotSupported
from headwater.log.port import SCHEMA_VERSION
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.filesystem import refuse_network

_LOW = 256 * 1024 * 1024
_LOW_SHARE = 0.05
_LONG_WAL = 256 * 1024 * 1024
_OLDEST = 3_051_003  # the first release without the bug that could lose a reset of the write-ahead log


def check_file(path: Path) -> list[Finding]:
    """Everything but the log's content; stops where going on makes no sense."""
    folder = path.absolute().parent
    if not path.is_file():
        return [
            Finding(
                "file", "problem", f"{path} is not there", "Check the address, or run `headwater migrate`."
            )
        ]
    found = [
        Finding("file", "ok", f"{path}, {path.stat().st_size:,} bytes"),
        _filesystem(path),
        judged(
            "permissions",
            f"{path} and its folder can be {'written' if _writable(path, folder) else 'read only'}",
            f"Give this account the right to write {path}, {path}-wal, {path}-shm and the folder {folder}.",
            good=_writable(path, folder),
        ),
        _secrecy(path),
        _space(folder),
        _library(),
    ]
    return found if any(finding.level == "problem" for finding in found) else [*found, *_inside(path)]


def applied_steps(path: Path) -> list[str]:
    """The migrations that the file has had."""
    if not path.exists():
        return []
    connection = _look(path)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'hw_migrations'").fetchone():
            return []
        return [
            str(name) for (name,) in connection.execute("SELECT name FROM hw_migrations ORDER BY version")
        ]
    finally:
        connection.close()


def _look(path: Path) -> Database:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def _inside(path: Path) -> list[Finding]:
    try:
        connection = _look(path)
        try:
            version, mode = connection.pragma("user_version"), connection.pragma("journal_mode")
        finally:
            connection.close()
    except apsw.Error as error:
        fix = "Restore the file from a copy."
        return [Finding("database", "problem", f"{path} cannot be read as SQLite: {error}", fix)]
    newer = int(version) > SCHEMA_VERSION
    return [
        judged(
            "schema",
            f"schema version {version}, this code needs {SCHEMA_VERSION}",
            "Deploy newer code." if newer else "Run `headwater migrate`.",
            good=version == SCHEMA_VERSION,
        ),
        judged(
            "journal",
            f"journal mode {mode}",
            "Open the log once with this version: it sets WAL. If it cannot, the disk is no ordinary local one.",
            good=mode == "wal",
            level="warning",
        ),
        _wal(path),
    ]


def _filesystem(path: Path) -> Finding:
    try:
        refuse_network(path)
    except NotSupported as error:
        return Finding("filesystem", "problem", str(error), "Move the file to a local disk, or use Postgres.")
    return Finding("filesystem", "ok", f"{_kind(path)}, no network filesystem")


def _kind(path: Path) -> str:
    """The type of the filesystem, as far as the system tells."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return "of unknown type"
    mounts = [(fields[1], fields[2]) for fields in (line.split(" ") for line in lines) if len(fields) > 2]
    over = [(len(mount), kind) for mount, kind in mounts if path.resolve().is_relative_to(mount)]
    return max(over)[1] if over else "of unknown type"


def _writable(path: Path, folder: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(folder, os.W_OK)


def _secrecy(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    return judged(
        "secrecy",
        f"mode {mode:04o}",
        f"Anybody on this machine can change the log. Run `chmod o-w {path}`.",
        good=not mode & 0o002,
        level="warning",
    )


def _space(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    return judged(
        "disk space",
        f"{usage.free / 2**30:.1f} GiB free",
        "Free some: when the disk is full, appends are refused until there is space again.",
        good=usage.free > _LOW and usage.free > usage.total * _LOW_SHARE,
        level="warning",
    )


def _library() -> Finding:
    return judged(
        "library",
        f"SQLite {apsw.sqlite_lib_version()}",
        "Upgrade apsw: this SQLite may lose committed data when the write-ahead log is reset.",
        good=apsw.SQLITE_VERSION_NUMBER >= _OLDEST,
    )


def _wal(path: Path) -> Finding:
    wal = path.with_name(f"{path.name}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    return judged(
        "write-ahead log",
        f"{size:,} bytes",
        "Some process holds an old read open. End it; the next quiet moment shortens the file.",
        good=size < _LONG_WAL,
        level="warning",
    )

"""Opening the file: what is refused, how a connection is set up, and the schema's steps.

The schema is made, and lifted to this code's version, in one write transaction: of several processes that open a new
file at once, one makes it and the others find it made. The file says whose it is (`application_id`) and how new its
schema is (`user_version`); what is somebody else's is never touched.

Settings, and why. WAL: readers do not wait for the writer. `synchronous=FULL`: a commit is on the disk when it
returns. No automatic checkpoint: it would run inside somebody's commit (see `checkpoint`). `journal_size_limit`:
after a long reader has let the WAL grow, its space is given back. 32 MiB of cache keep the inner pages of the
indexes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import apsw

from headwater.errors import NotSupported, SchemaOutdated, StorageReadOnly, StorageRefused
from headwater.events.clock import Clock
from headwater.log.port import SCHEMA_VERSION
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.filesystem import OwnConnection, refuse_network, refuse_shared
from headwater.log.sqlite.statements import migrations, statements
from headwater.log.sqlite.transact import transact

APPLICATION_ID: Final = 0x48574C47  # "HWLG"
_SETTINGS: Final = (
    "synchronous = FULL",
    f"cache_size = -{32 * 1024}",
    "wal_autocheckpoint = 0",
    f"journal_size_limit = {64 * 1024 * 1024}",
    "trusted_schema = OFF",
)
_INCARNATION: Final = statements("read.sql")["incarnation"]


def connect(path: Path) -> Database:
    """A connection to a file that is known to be ours."""
    connection = OwnConnection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    connection.file = connection.filename
    connection.pid = os.getpid()
    connection.convert_binding = _bind
    database = cast("Database", connection)
    for setting in _SETTINGS:
        database.execute(f"PRAGMA {setting}").fetchall()
    return database


def _bind(_: object, __: int, value: Any) -> bytes:
    if isinstance(value, UUID):
        return value.bytes
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def check_place(path: Path) -> None:
    """Refuse a place where a log cannot be, before anything is opened."""
    if str(path) in {"", ":memory:"} or path.is_dir():
        raise NotSupported(
            f"{str(path)!r} is no file. Name one, or use memory: for a log that is gone with the process."
        )
    if not path.parent.is_dir():
        raise NotSupported(f"The folder {path.parent} does not exist. Make it, or name another file.")
    refuse_network(path)
    refuse_shared(path)


def prepare(
    connection: Database, path: Path, clock: Clock, *, migrate: bool | None, incarnation: UUID
) -> UUID:
    """See that the file is a log of this code's schema (a new one is `incarnation`); which log it is."""
    if connection.readonly("main"):
        raise StorageReadOnly(f"{path} is read-only. Make the file and its folder writable.")
    version = _version(connection, path)
    if version != SCHEMA_VERSION:
        _refuse_version(version, path, migrate=migrate)
    if connection.pragma("journal_mode") != "wal" and connection.pragma("journal_mode", "wal") != "wal":
        raise StorageRefused(f"{path} cannot be put into WAL mode. Put it on an ordinary local disk.")
    if version != SCHEMA_VERSION:
        _migrate(connection, path, clock, incarnation)
    return read_incarnation(connection)


def read_incarnation(connection: Database) -> UUID:
    """Which log this is."""
    return UUID(bytes=connection.execute(_INCARNATION).get)


def _version(connection: Database, path: Path) -> int:
    """The schema version of the file; 0 when it is empty."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    owner = connection.pragma("application_id")  # after the tables: another process may be making ours
    if owner != APPLICATION_ID and (owner or tables):
        raise StorageRefused(
            f"{path} is another application's database. Give the log a file of its own; "
            "tables of yours may be made in it afterwards, in `log.transaction()`."
        )
    return int(connection.pragma("user_version"))


def _refuse_version(version: int, path: Path, *, migrate: bool | None) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaOutdated(
            f"{path} has schema {version}, made by newer code; this code knows {SCHEMA_VERSION}. Deploy newer code."
        )
    if migrate is False or (migrate is None and version):
        raise SchemaOutdated(
            f"{path} has schema {version}; this code needs {SCHEMA_VERSION}. Run `headwater migrate`."
        )


def _migrate(connection: Database, path: Path, clock: Clock, incarnation: UUID) -> None:
    def body(connection: Database) -> None:
        version = _version(connection, path)  # another process may have been quicker
        for step in migrations():
            if step.version > version:
                connection.execute(step.sql).fetchall()
                connection.execute(
                    "INSERT INTO hw_migrations VALUES (?, ?, ?)", (step.version, step.name, clock.now_us())
                )
        if version == 0:
            connection.execute("INSERT INTO hw_log VALUES (1, ?)", (incarnation,))
            connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)

    transact(connection, body)

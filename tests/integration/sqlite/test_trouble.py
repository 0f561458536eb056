"""Files that are refused, and disks that fail."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from headwater.errors import (
    LogClosed,
    NotSupported,
    SchemaOutdated,
    StorageFull,
    StorageReadOnly,
    StorageRefused,
)
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.port import SCHEMA_VERSION
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.sqlite.filesystem import refuse_network
from headwater.log.verify import verify
from headwater.log.write import Write

PLACED = RawEvent("order.placed", {"text": "x" * 500})


async def test_a_full_disk_refuses_loudly_and_the_log_goes_on_when_there_is_space(
    path: Path, log: Log
) -> None:
    async with log:
        backend = log.backend
        assert isinstance(backend, SqliteBackend)
        await log.append(Write(Stream("order", "1"), [PLACED]))
        await backend._lanes.writer.run(lambda connection: connection.pragma("max_page_count", 60))
        acknowledged = 1

        async def fill() -> None:
            nonlocal acknowledged
            while True:
                await log.append(Write(Stream("order", "1"), [PLACED] * 10))
                acknowledged += 10

        with pytest.raises(StorageFull, match="no space left"):
            await fill()
        assert (await verify(log)).place.position == acknowledged
        with pytest.raises(StorageFull):
            await log.append(Write(Stream("order", "1"), [PLACED] * 10))
        await backend._lanes.writer.run(lambda connection: connection.pragma("max_page_count", 100_000))
        (appended,) = await log.append(Write(Stream("order", "1"), [PLACED]))
        assert appended.position == acknowledged + 1
        await verify(log)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A folder that an ordinary user can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Permissions mean nothing to root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    os.seteuid(was)


@pytest.mark.usefixtures("ordinary_user")
async def test_a_read_only_file_is_refused(shelf: Path) -> None:
    file = shelf / "log.db"
    user = os.geteuid()
    os.seteuid(shelf.stat().st_uid)
    async with Log(SqliteBackend(file)) as log:
        await log.append(Write(Stream("order", "1"), [PLACED]))
    file.chmod(0o444)
    os.seteuid(user)
    with pytest.raises(StorageReadOnly, match="writable"):
        await SqliteBackend(file).open()


@pytest.mark.usefixtures("ordinary_user")
async def test_a_folder_that_cannot_be_written_is_refused(shelf: Path) -> None:
    shelf.chmod(0o555) if os.access(shelf, os.W_OK) else None
    with pytest.raises((StorageReadOnly, StorageRefused), match=r"log\.db"):
        await SqliteBackend(shelf / "log.db").open()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 1000)
    with pytest.raises(StorageRefused, match="no SQLite database"):
        await SqliteBackend(path).open()
    assert path.read_text() == "dear diary, " * 1000


@pytest.mark.parametrize("statement", ["CREATE TABLE mine (id)", "PRAGMA application_id = 7"])
async def test_another_applications_database_is_refused_and_left_alone(path: Path, statement: str) -> None:
    _change(path, statement)
    before = path.read_bytes()
    with pytest.raises(StorageRefused, match="another application's"):
        await SqliteBackend(path).open()
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(path: Path, log: Log) -> None:
    async with log:
        pass
    _change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(SchemaOutdated, match="newer"):
        await SqliteBackend(path, migrate=True).open()


async def test_no_file_is_made_into_a_log_against_the_callers_will(path: Path) -> None:
    with pytest.raises(SchemaOutdated, match="headwater migrate"):
        await SqliteBackend(path, migrate=False).open()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_filesystem_is_refused_with_the_way_to_go(tmp_path: Path, kind: str) -> None:
    mounts = f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n"
    with pytest.raises(NotSupported, match="local disk"):
        refuse_network(tmp_path / "log.db", mounts)
    refuse_network(tmp_path.parent / "log.db", mounts)


async def test_a_file_that_pythons_own_sqlite_has_open_here_is_refused(path: Path, log: Log) -> None:
    async with log:
        pass
    other = sqlite3.connect(path)
    other.execute("SELECT count(*) FROM hw_events").fetchall()
    with pytest.raises(NotSupported, match="another library"):
        await SqliteBackend(path).open()
    other.close()
    async with log:
        assert not (await log.backend.tail(0)).position


@pytest.mark.parametrize("name", ["", ":memory:", ".", "/no/such/folder/log.db"])
async def test_a_path_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(NotSupported):
        await SqliteBackend(name).open()


async def test_a_closed_log_says_so(path: Path) -> None:
    backend = SqliteBackend(path)
    await backend.open()
    await backend.close()
    await backend.close()
    with pytest.raises(LogClosed):
        await backend.tail(0)


def _change(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()

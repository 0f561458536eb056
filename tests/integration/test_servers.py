"""The servers that other tests rely on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.servers.fixtures import require_pgbouncer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import GROUPS, OWNER, Database, PostgresServer, Template

ROOT = Path(__file__).resolve().parents[2]

LAUNCH_AND_WAIT = """
import time
from tests.servers.postgres import PostgresServer
server = PostgresServer.launch()
print(server.data, (server.data / "postmaster.pid").read_text().split()[0], flush=True)
time.sleep(100)
"""


async def prepare(url: str) -> None:
    """Stands in for the migrations: the group roles and a table that they may use."""
    connection = await asyncpg.connect(url)
    for group in GROUPS.values():
        exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", group)
        if not exists:
            await connection.execute(f'CREATE ROLE "{group}" NOLOGIN')
    await connection.execute("CREATE TABLE note (body text)")
    await connection.execute(f"GRANT SELECT, INSERT ON note TO {', '.join(GROUPS.values())}")
    await connection.close()


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[Template]:
    template = Template.create(postgres_server, prepare)
    yield template
    template.drop()


@pytest.fixture
def database(postgres_server: PostgresServer, template: Template) -> Iterator[Database]:
    database = Database.create(postgres_server, template)
    yield database
    database.drop()


def test_the_server_answers_with_the_settings_of_the_tests(private_postgres: PostgresServer) -> None:
    assert private_postgres.fetch("SHOW max_connections")[0][0] == "200"
    assert private_postgres.fetch("SHOW max_prepared_transactions")[0][0] == "5"
    assert private_postgres.fetch("SHOW listen_addresses")[0][0] == "127.0.0.1"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_the_data_and_the_port(private_postgres: PostgresServer, mode: str) -> None:
    private_postgres.fetch("CREATE TABLE kept AS SELECT 42 AS answer")
    assert mode in ("fast", "immediate")
    private_postgres.restart("fast" if mode == "fast" else "immediate")
    assert private_postgres.fetch("SELECT answer FROM kept")[0]["answer"] == 42


def test_a_stopped_server_refuses_and_starts_again(private_postgres: PostgresServer) -> None:
    private_postgres.stop()
    with pytest.raises(OSError):  # noqa: PT011 - which one differs by platform
        private_postgres.fetch("SELECT 1")
    private_postgres.start()
    assert private_postgres.fetch("SELECT 1")[0][0] == 1


def test_a_server_lives_on_after_the_thread_that_started_it(private_postgres: PostgresServer) -> None:
    thread = threading.Thread(target=private_postgres.restart)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert private_postgres.fetch("SELECT 1")[0][0] == 1


async def test_copies_of_a_template_are_independent(
    postgres_server: PostgresServer, template: Template, database: Database
) -> None:
    connection = await asyncpg.connect(database.worker_url)
    await connection.execute("INSERT INTO note VALUES ('mine')")
    await connection.close()
    other = Database.create(postgres_server, template)
    try:
        connection = await asyncpg.connect(other.server_url)
        assert await connection.fetchval("SELECT count(*) FROM note") == 0
        await connection.close()
    finally:
        other.drop()


async def test_a_database_is_dropped_under_an_open_connection(database: Database) -> None:
    connection = await asyncpg.connect(database.worker_url)
    database.drop()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")
    connection.terminate()


@pytest.mark.parametrize("url", ["worker_url", "server_url"])
async def test_tests_log_in_as_neither_superuser_nor_owner(database: Database, url: str) -> None:
    connection = await asyncpg.connect(getattr(database, url))
    role = await connection.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = session_user"
    )
    owner = await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'note'")
    assert role is not None
    assert list(role.values()) == [False, False, False]
    assert owner == OWNER
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DROP TABLE note")
    await connection.close()


async def test_a_wrong_password_is_refused(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database.worker_url, password="wrong")


async def test_pgbouncer_pools_transactions(postgres_server: PostgresServer, database: Database) -> None:
    require_pgbouncer()
    with PgBouncer(postgres_server, pool_size=1) as bouncer:
        url = bouncer.url(database.worker_url)
        first = await asyncpg.connect(url, statement_cache_size=0)
        second = await asyncpg.connect(url, statement_cache_size=0)
        ask = "SELECT pg_backend_pid(), session_user"
        assert await first.fetchrow(ask) == await second.fetchrow(ask)
        await first.close()
        await second.close()


def test_a_killed_session_leaves_no_server_behind(tmp_path: Path) -> None:
    session = subprocess.Popen(
        [
            sys.executable,
            "-c",
            LAUNCH_AND_WAIT,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout is not None
    data, pid = session.stdout.readline().split()
    os.kill(session.pid, signal.SIGKILL)
    session.wait()
    session.stdout.close()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and (alive(int(pid)) or Path(data).exists()):
        time.sleep(0.05)
    assert not alive(int(pid))
    assert not Path(data).exists()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

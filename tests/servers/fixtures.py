"""Fixtures for tests that need a server.

The first test that asks for Postgres starts it for the whole session; each test gets a database of its own, copied
from a migrated template. `private_postgres` is a server of its own, for tests that stop it or fill its disk.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.pgbouncer import PgBouncer, pgbouncer_program
from tests.servers.postgres import Database, PostgresServer, Template
from tests.servers.process import ServerFailed
from tests.servers.redis import RedisServer, redis_program


async def migrate(url: str) -> None:
    """What a template holds: our tables, made by the migrations that users run."""
    # imported late: the servers can be used without it
    from headwater.log.postgres.migrate import migrate as run

    await run(url)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer.from_environment()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[Template]:
    template = Template.create(postgres_server, migrate)
    yield template
    template.drop()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer, postgres_template: Template) -> Iterator[Database]:
    """A migrated database of the test's own, on the session's server."""
    database = Database.create(postgres_server, postgres_template)
    yield database
    database.drop()


@pytest.fixture
def private_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own."""
    server = PostgresServer.launch()
    yield server
    server.close()


@pytest.fixture
def private_database(private_postgres: PostgresServer) -> Database:
    """A migrated database on the test's own server."""
    return Database.create(private_postgres, Template.create(private_postgres, migrate))


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """PgBouncer before the session's server; `pgbouncer.url(database.worker_url)` goes through it."""
    require_pgbouncer()
    with PgBouncer(postgres_server) as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for the session; tests that stop it take `private_redis`."""
    server = _launch_redis()
    yield server
    server.close()


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    server = _launch_redis()
    yield server
    server.close()


@pytest.fixture(scope="session")
def clickhouse_server() -> Iterator[ClickHouseServer]:
    """A ClickHouse for the session; tests that stop it take `private_clickhouse`."""
    server = ClickHouseServer.launch()
    yield server
    server.close()


@pytest.fixture
def private_clickhouse() -> Iterator[ClickHouseServer]:
    """A ClickHouse of the test's own."""
    server = ClickHouseServer.launch()
    yield server
    server.close()


def _launch_redis() -> RedisServer:
    _require(redis_program)
    return RedisServer.launch()


def require_pgbouncer() -> None:
    """Skip without PgBouncer; where CI is set, fail."""
    _require(pgbouncer_program)


def _require(program: Callable[[], object]) -> None:
    try:
        program()
    except ServerFailed as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))

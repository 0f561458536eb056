"""The schema from nothing, twice at once, and when it does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from headwater.errors import SchemaOutdated, StorageRefused
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.migrate import migrate, pending
from headwater.log.postgres.statements import steps
from headwater.log.write import Write
from tests.servers.postgres import OWNER, Database, PostgresServer

NAMES = [step.name for step in steps()]


@pytest.fixture
def empty(postgres_server: PostgresServer, postgres_template: object) -> Iterator[str]:
    """A database without a log, as its owner."""
    name = postgres_server.create_database(owner=OWNER)
    yield postgres_server.url(role=OWNER, database=name)
    postgres_server.drop_database(name)


async def test_from_nothing_and_then_nothing_more(empty: str) -> None:
    assert await pending(empty) == NAMES
    assert await migrate(empty) == NAMES
    assert await pending(empty) == []
    assert await migrate(empty) == []


async def test_two_at_once_apply_each_step_once(empty: str) -> None:
    done = await asyncio.gather(*[migrate(empty) for _ in range(4)])
    assert sorted(name for names in done for name in names) == sorted(NAMES)


async def test_the_owner_who_migrated_can_use_the_log(empty: str) -> None:
    async with Log(PostgresBackend(empty, migrate=True)) as log:
        await log.append(Write(Stream("order", "1"), [RawEvent("placed", 1)]))
        assert [recorded.version async for recorded in log.read()] == [1]


async def test_a_database_without_a_log_says_what_to_do(empty: str) -> None:
    with pytest.raises(SchemaOutdated, match="headwater migrate"):
        await PostgresBackend(empty).open()


async def test_a_newer_and_an_older_schema_are_refused(
    postgres_database: Database, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO headwater.migrations (name, checksum) VALUES ('migrations/9999_x.sql', '')"
    )
    with pytest.raises(SchemaOutdated, match="newer"):
        await PostgresBackend(postgres_database.worker_url).open()
    await admin.execute(
        "UPDATE headwater.migrations SET name = 'migrations/0000_x.sql' WHERE name = $1", NAMES[0]
    )
    await admin.execute("DELETE FROM headwater.migrations WHERE name = 'migrations/9999_x.sql'")
    await admin.execute("DELETE FROM headwater.migrations WHERE name = 'migrations/0000_x.sql'")
    await admin.execute("INSERT INTO headwater.migrations (name, checksum) VALUES ('functions/x', '')")
    with pytest.raises(SchemaOutdated, match="no log"):
        await PostgresBackend(postgres_database.worker_url).open()


async def test_a_function_that_changed_is_made_again(
    postgres_database: Database, admin: asyncpg.Connection
) -> None:
    await admin.execute("UPDATE headwater.migrations SET checksum = 'old' WHERE name LIKE 'functions/%'")
    functions = [step.name for step in steps() if not step.migration]
    assert await pending(postgres_database.owner_url) == functions
    assert await migrate(postgres_database.owner_url) == functions
    owner = "SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'place'"
    assert await admin.fetchval(owner) == "headwater_tail"
    async with Log(PostgresBackend(postgres_database.worker_url)) as log:
        await log.append(Write(Stream("order", "1"), [RawEvent("placed", 1)]))


async def test_a_migration_that_was_altered_is_refused(
    postgres_database: Database, admin: asyncpg.Connection
) -> None:
    await admin.execute("UPDATE headwater.migrations SET checksum = 'old' WHERE name LIKE 'migrations/%'")
    with pytest.raises(SchemaOutdated, match="another form"):
        await migrate(postgres_database.owner_url)


async def test_a_login_that_may_not_migrate_is_told_so(postgres_server: PostgresServer, empty: str) -> None:
    postgres_server.create_role("hw_test_stranger")
    name = empty.rpartition("/")[2]
    with pytest.raises(StorageRefused, match="administrator"):
        await migrate(postgres_server.url(role="hw_test_stranger", database=name))


async def test_a_superuser_who_migrates_leaves_no_bypass_behind(
    postgres_server: PostgresServer, postgres_template: object
) -> None:
    name = postgres_server.create_database()
    try:
        url = postgres_server.url(database=name)
        await migrate(url)
        connection = await asyncpg.connect(url)
        owners = await connection.fetch(
            "SELECT r.rolname, r.rolsuper OR r.rolbypassrls AS bypasses FROM pg_proc p"
            " JOIN pg_roles r ON r.oid = p.proowner WHERE p.pronamespace = 'headwater'::regnamespace AND p.prosecdef"
        )
        assert [tuple(row) for row in owners] == [("headwater_tail", False)]
        await connection.close()
    finally:
        postgres_server.drop_database(name)

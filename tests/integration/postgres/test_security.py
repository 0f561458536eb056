"""Who sees what: row-level security is forced on every table, and the server's role crosses no tenants."""

from __future__ import annotations

from datetime import UTC, datetime
from random import randbytes

import asyncpg
import pytest

from headwater.errors import NotSupported
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD, Query, Release
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.side import OpenFence, PutEntry, PutReady, PutState, SetDue, TakeKey
from headwater.log.write import Write
from headwater.projections.open import store_for
from headwater.projections.stores import Key, StateRow
from tests.servers.postgres import Database

OURS, THEIRS = Stream("order", "1", "ours"), Stream("order", "1", "theirs")
AT = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = (
    TakeKey("k", "me"),
    OpenFence("f"),
    SetDue("d", AT),
    PutReady("q", "r"),
    PutEntry("runs", "1", "l", "open"),
)
_LARGE = randbytes(100_000).hex()  # does not compress below the limit for large payloads
TABLES = (
    "events",
    "tenants",
    "keys",
    "fences",
    "due",
    "ready",
    "entries",
    "blobs",
    "snapshots",
    "staged",
    "states",
)


async def _fill(log: Log) -> None:
    store = store_for(log)
    await store.create("spent", 1, 1, live=True)
    at = await store.take("spent", 1, "one", 1_000_000)
    assert at is not None
    await store.save(at, 1, [StateRow(stream.tenant, "key", 1, b"{}") for stream in (OURS, THEIRS)])
    for stream in (OURS, THEIRS):
        await log.append(Write(stream, [RawEvent("placed", _LARGE)], rows=ROWS))


async def test_the_servers_role_reads_and_writes_for_the_tenant_it_names(
    log: Log, postgres_database: Database
) -> None:
    await _fill(log)
    async with Log(PostgresBackend(postgres_database.server_url)) as served:
        [appended] = await served.append(Write(OURS, [RawEvent("paid", 1)], expect=1))
        assert (appended.version, appended.position) == (2, 3)
        assert [r.stream async for r in served.read(tenant="ours")] == [OURS, OURS]
        assert [len(str(r.data)) async for r in served.stream(OURS, limit=1)] == [len(_LARGE)]
        backend = served.backend
        assert [k.tenant for k in await backend.keys("ours")] == ["ours"]
        assert [r.tenant for r in await backend.due("ours")] == ["ours"]
        assert [r.tenant for r in await backend.ready("ours", "q")] == ["ours"]
        assert [c.epoch for c in await backend.claim("ours", ["f"], "w")] == [1]
        assert await backend.release([Release("ours", "f", 1, 0)]) == [True]
        async with served.transaction() as transaction:
            await transaction.append(Write(OURS, [RawEvent("sent", 1)]))
        assert await served.version(OURS) == 3


async def test_the_servers_role_writes_states_with_its_appends(log: Log, postgres_database: Database) -> None:
    await _fill(log)
    async with Log(PostgresBackend(postgres_database.server_url)) as served:
        for stream in (OURS, THEIRS):
            put = PutState("spent", 1, stream, 2, b"{}")
            await served.append(Write(stream, [RawEvent("paid", 1)], expect=1, rows=[put]))
        store = store_for(log)
        for stream, position in ((OURS, 3), (THEIRS, 4)):
            key = Key(stream.tenant, f"{stream.type}/{stream.id}")
            assert (await store.load("spent", 1, [key]))[key].position == position


async def test_the_servers_role_is_told_when_it_names_no_tenant(
    log: Log, postgres_database: Database
) -> None:
    await _fill(log)
    async with Log(PostgresBackend(postgres_database.server_url)) as served:
        backend = served.backend
        with pytest.raises(NotSupported, match="may not cross tenants"):
            await backend.read(Query())
        with pytest.raises(NotSupported, match="may not cross tenants"):
            await backend.due(None)
        with pytest.raises(NotSupported, match="must be named"):
            await backend.keys("")
        with pytest.raises(NotSupported, match="must be named"):
            await backend.claim("", ["f"], "w")


@pytest.mark.parametrize("table", TABLES)
async def test_no_table_shows_another_tenant(log: Log, postgres_database: Database, table: str) -> None:
    await _fill(log)
    connection = await asyncpg.connect(postgres_database.server_url)
    assert await connection.fetchval(f"SELECT count(*) FROM headwater.{table}") == 0
    async with connection.transaction():
        await connection.execute("SELECT headwater.act_for(ARRAY['ours'])")
        tenants = {row[0] for row in await connection.fetch(f"SELECT tenant FROM headwater.{table}")}
        assert tenants <= {"ours"}
        assert tenants or table in ("snapshots", "staged", "states")
    assert await connection.fetchval(f"SELECT count(*) FROM headwater.{table}") == 0
    await connection.close()


async def test_a_row_cannot_be_written_for_another_tenant(postgres_database: Database) -> None:
    connection = await asyncpg.connect(postgres_database.server_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # noqa: PT012 - it comes at the end
        async with connection.transaction():
            await connection.execute("SELECT headwater.act_for(ARRAY['ours'])")
            await connection.execute(
                "INSERT INTO headwater.keys (tenant, key, holder) VALUES ('theirs', 'k', 'me')"
            )
    await connection.close()


@pytest.mark.parametrize("change", ["UPDATE headwater.events SET version = 9", "DELETE FROM headwater.events",
                                    "TRUNCATE headwater.events", "UPDATE headwater.log SET one = false"])  # fmt: skip
@pytest.mark.parametrize("url", ["worker_url", "server_url"])
async def test_nobody_changes_what_is_written(postgres_database: Database, url: str, change: str) -> None:
    connection = await asyncpg.connect(getattr(postgres_database, url))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(change)
    await connection.close()


@pytest.mark.parametrize(
    "tenants", ["NULL", "ARRAY[]::text[]", "ARRAY['']", "ARRAY[NULL::text]", "ARRAY[E'a\\x1fb']"]
)
async def test_an_empty_tenant_is_refused(postgres_database: Database, tenants: str) -> None:
    connection = await asyncpg.connect(postgres_database.server_url)
    with pytest.raises(asyncpg.PostgresError, match="must be named"):
        await connection.execute(f"SELECT headwater.act_for({tenants})")
    await connection.close()


async def test_security_is_forced_on_every_table(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class"
        " WHERE relnamespace = 'headwater'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
    )
    assert {row["relname"] for row in rows} == {*TABLES, "log", "migrations", "voided", "commits", "workers",
                                              "projections"}  # fmt: skip
    assert all(row["forced"] for row in rows)


async def test_definer_functions_belong_to_a_role_that_can_do_nothing_else(admin: asyncpg.Connection) -> None:
    owners = await admin.fetch(
        "SELECT p.proname, r.rolname, r.rolsuper, r.rolbypassrls, r.rolcanlogin FROM pg_proc p JOIN pg_roles r"
        " ON r.oid = p.proowner WHERE p.pronamespace = 'headwater'::regnamespace AND p.prosecdef"
    )
    assert [tuple(row) for row in owners] == [("place", "headwater_tail", False, False, False)]
    columns = await admin.fetch(
        "SELECT column_name FROM information_schema.column_privileges WHERE grantee = 'headwater_tail'"
    )
    assert {row[0] for row in columns} == {"shard", "position", "chain", "recorded_at"}


async def test_functions_are_safe_from_the_callers_search_path(admin: asyncpg.Connection) -> None:
    """A body in SQL is bound when it is made; any other has its path set."""
    loose = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'headwater'::regnamespace AND prosqlbody IS NULL"
        " AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']"
    )
    assert loose == []
    open_to_all = await admin.fetch(
        "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " WHERE pronamespace = 'headwater'::regnamespace AND grantee = 0"
    )
    assert open_to_all == []


async def test_a_login_without_a_role_is_told_which_it_needs(postgres_database: Database) -> None:
    server = postgres_database.server
    server.create_role("hw_test_stranger")
    url = server.url(role="hw_test_stranger", database=postgres_database.name)
    with pytest.raises(NotSupported, match="headwater_worker"):
        await PostgresBackend(url).open()


async def test_the_tail_is_everybodys(log: Log, postgres_database: Database) -> None:
    await _fill(log)
    async with Log(PostgresBackend(postgres_database.server_url)) as served:
        assert await served.backend.tail(DEFAULT_SHARD) == await log.backend.tail(DEFAULT_SHARD)

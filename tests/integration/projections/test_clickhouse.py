"""States in ClickHouse: the behaviour of every store, on a server and in the process; and what people ask with SQL."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import NotSupported, Trouble
from headwater.log.log import Log
from headwater.projections.clickhouse import ClickHouseStates
from headwater.projections.clickhouse_table import Place, StatesTable
from headwater.projections.rebuild import rebuild
from headwater.projections.states import States
from headwater.projections.stores import Key, StateRow, Store
from headwater.testing.contract import Site
from tests.integration.projections.shop import BY_STREAM, pay
from tests.integration.projections.test_at_once import (
    test_all_who_rebuild_at_once_come_to_an_end,  # noqa: F401
)
from tests.integration.projections.test_folding import *  # noqa: F403  the same tests, with the store below
from tests.integration.projections.test_folding import fold_all
from tests.integration.projections.test_killed_rebuilds import (
    test_a_rebuild_that_is_killed_ten_times_finishes,  # noqa: F401
)
from tests.projecting import projecting
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.ports import free_port

NASTY = [
    "a'b",
    "a\\b",
    "\\",
    "\\0",
    "\0z",
    "new\nline",
    "tab\t",
    "{x:String}",
    "%s",
    "/* c",
    "-- d",
    "é漢字",
    "",
]


@pytest.fixture
async def kept(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[ClickHouseStates]:
    """A server with a log in SQLite, and else the engine in this process."""
    on_server = site.name == "sqlite"
    url = request.getfixturevalue("clickhouse_server").url if on_server else "chdb::memory:"
    states = ClickHouseStates(url)
    yield states
    await states.close()


@pytest.fixture
def store(log: Log, kept: ClickHouseStates) -> Store:
    return kept(log)


async def test_any_key_is_a_key(store: Store, kept: ClickHouseStates) -> None:
    table, place = kept._table, Place("log", "nasty", "nasty")
    await table.make()
    rows = [StateRow("default", key, n, b"%d" % n) for n, key in enumerate(NASTY, 1)]
    await table.insert(place, 1, 99, rows)
    try:
        keys = [Key("default", key) for key in NASTY]
        assert await table.load("nasty", keys) == dict(zip(keys, rows, strict=True))
        for key in keys:
            assert await table.keys("nasty", *key) == [key]
        paged: list[StateRow] = []
        while page := await table.page("nasty", (paged and Key(*paged[-1][:2])) or None, 2):
            paged += page
        assert [row.key for row in paged] == sorted(NASTY)
    finally:
        await table.forget("nasty")


async def test_many_keys_are_read_at_once(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    folding = await fold_all(log, BY_STREAM, store)
    at = folding.at
    assert at is not None
    rows = [StateRow("default", f"order/{n}", 1, b"{}") for n in range(12_000)]
    await store.save(at, at.position + 1, rows)
    found = await store.load("spent", at.generation, [Key("default", row.key) for row in rows])
    assert list(found.values()) == rows


async def test_sql_sees_the_states_in_use(log: Log, store: Store, kept: ClickHouseStates) -> None:
    await pay(log, "a", 1, 2)
    await pay(log, "b", 4, tenant="blue")
    await fold_all(log, BY_STREAM, store)
    asked = "SELECT tenant, sum(JSONExtractInt(state, 'cents')) FROM headwater_spent GROUP BY tenant ORDER BY tenant"
    for _ in range(3):
        assert await kept._table._query(asked) == [(b"blue", 4), (b"default", 3)]
        await rebuild(log, BY_STREAM, store)


async def test_a_rebuild_leaves_one_generation(log: Log, store: Store, kept: ClickHouseStates) -> None:
    await pay(log, "a", 1)
    await fold_all(log, BY_STREAM, store)
    for _ in range(3):
        await rebuild(log, BY_STREAM, store)
    assert len(await kept._table.generations(str(log.info.incarnation), "spent")) == 1


async def test_states_elsewhere_and_beside_the_log_do_not_mix(log: Log, kept: ClickHouseStates) -> None:
    """A projection that moves finds what is there, and not the other's checkpoint."""
    await pay(log, "a", 1)
    for projection in (BY_STREAM, replace(BY_STREAM, store=kept), BY_STREAM, replace(BY_STREAM, store=kept)):
        await pay(log, "b", 1)
        store = projection.store(log)
        await (await fold_all(log, projection, store)).release()
        [at] = await store.checkpoints("spent")
        rows = {row.key: row.state for row in await store.page(at.name, at.generation)}
        head = (await log.head()).position
        assert (at.name, at.position, len(rows)) == ("spent", head, 2)
        assert rows["order/b"] == BY_STREAM.encode(
            BY_STREAM.decode(b'{"cents":%d,"events":%d}' % (head - 1, head - 1))
        )


async def test_a_worker_keeps_a_projection_there(log: Log, kept: ClickHouseStates) -> None:
    projection = replace(BY_STREAM, store=kept)
    async with asyncio.timeout(20), projecting(log, projection, lease=1.0):
        states = States(log, projection)
        await states.caught_up(await pay(log, "a", 1, 2))
        assert (await states.state("order/a")).cents == 3


OTHER = """
import asyncio, sys
from headwater.projections.clickhouse_table import StatesTable
from headwater.errors import NotSupported, Trouble

async def main():
    try:
        await StatesTable(sys.argv[1]).make()
    except NotSupported as refused:
        print(refused)

asyncio.run(main())
"""
HOLDER = """
import asyncio, sys
from headwater.projections.clickhouse_table import StatesTable
from headwater.errors import NotSupported, Trouble

async def main():
    table = StatesTable(sys.argv[1])
    await table.make()
    try:
        await StatesTable(sys.argv[1] + "-other").make()
    except NotSupported as refused:
        print(refused, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


def test_one_process_has_a_folder_and_one_folder_a_process(tmp_path: Path) -> None:
    url = f"chdb:{tmp_path}/states"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert "a process has one" in holder.stdout.readline()
        other = [sys.executable, "-c", OTHER, url]
        refused = subprocess.run(other, capture_output=True, text=True, check=True, timeout=40)
        assert "use a ClickHouse server" in refused.stdout
        holder.stdin.close()
    freed = subprocess.run(other, capture_output=True, text=True, check=True, timeout=40)
    assert freed.stdout == ""


def test_an_address_of_something_else_is_refused() -> None:
    with pytest.raises(NotSupported, match="clickhouse://user:password@host:8123/database"):
        StatesTable("postgres://user:secret@host/database")


async def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_connect.driver.exceptions", None)
    with pytest.raises(NotSupported, match=r"pip install 'headwater\[clickhouse\]'"):
        await StatesTable("clickhouse://user@host/database").make()


async def test_a_server_that_is_not_there_is_trouble_in_a_line() -> None:
    nowhere = StatesTable(f"clickhouse://user:secret@127.0.0.1:{free_port()}/database")
    with pytest.raises(Trouble, match="Connection refused") as told:
        await nowhere.make()
    assert "secret" not in str(told.value)
    assert len(str(told.value)) < 300


async def test_a_server_that_does_not_know_us_says_so(clickhouse_server: ClickHouseServer) -> None:
    wrong = ClickHouseStates(clickhouse_server.url.replace("sesame", "guess"))
    with pytest.raises(Trouble, match="Authentication failed") as told:
        await wrong._table.make()
    assert "guess" not in str(told.value)

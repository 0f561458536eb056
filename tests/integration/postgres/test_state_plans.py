"""States are looked up key by key, also in a table that Postgres has not analyzed yet."""

import re

import asyncpg
import pytest

from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.connections import PLANNING
from headwater.projections.postgres import PostgresStore
from headwater.projections.statements import statements
from headwater.projections.stores import StateRow
from tests.integration.postgres.plans import explained
from tests.servers.postgres import Database


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_many_states_are_read_by_their_keys(postgres_database: Database, mode: str) -> None:
    keys = [f"k{n}" for n in range(10_000)]
    backend = PostgresBackend(postgres_database.worker_url)
    async with Log(backend):
        store = PostgresStore(backend)
        await store.create("spent", 1, 1, live=True)
        at = await store.take("spent", 1, "one", 60_000_000)
        assert at is not None
        await store.save(at, 1, [StateRow("default", key, 1, b"{}") for key in keys])
    asked_for = keys[::20]
    connection = await asyncpg.connect(postgres_database.worker_url, server_settings=PLANNING)
    load = statements("postgres.sql")["load"]
    plan = await explained(connection, mode, load, "spent", 1, ["default"] * len(asked_for), asked_for)
    await connection.close()
    touched = re.search(r"Buffers: shared hit=(\d+)", plan)
    assert touched, plan
    assert int(touched[1]) < 10 * len(asked_for), plan
    assert "Rows Removed" not in plan, plan

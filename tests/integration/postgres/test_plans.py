"""Each hot query goes through its index, in a log of some ten thousand events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from headwater.log.postgres.connections import PLANNING
from headwater.log.postgres.statements import queries
from headwater.log.write import Write
from tests.integration.postgres.plans import explained
from tests.servers.postgres import Database, PostgresServer, Template

FOREVER = 2**63 - 1


@pytest.fixture(scope="module")
def grown(postgres_server: PostgresServer, postgres_template: Template) -> Iterator[Database]:
    database = Database.create(postgres_server, postgres_template)
    yield database
    database.drop()


async def _grow(database: Database) -> None:
    if postgres_count(database):
        return
    async with Log(PostgresBackend(database.worker_url)) as log:
        for i in range(40):
            await log.append(*[
                Write(Stream("order", f"{i}-{j}"), [
                    NewEvent(event=RawEvent("placed", 1), run_id=f"run-{i}-{j}", correlation_id=f"c-{i}-{j}")
                ] * 1 + [RawEvent("paid", n) for n in range(11)])
                for j in range(20)
            ])  # fmt: skip
            await log.append(
                *[Write(Stream("order", f"{i}-{j}", "small"), [RawEvent("placed", 1)]) for j in range(2)]
            )
    database.server.fetch("VACUUM ANALYZE headwater.events", database=database.name)


def postgres_count(database: Database) -> int:
    return int(database.server.fetch("SELECT count(*) FROM headwater.events", database=database.name)[0][0])


PLANS: list[tuple[str, tuple[Any, ...], str]] = [
    ("log", (0, 5000, FOREVER, 1000), "events_pkey"),
    ("log_filtered", (0, 5000, 7000, 1000, None, ["paid"], None), "events_pkey"),
    ("log_to_tail", (0, 5000, 7000, 1000, None, ["paid"], None), "events_pkey"),
    ("log_of_tenant", (0, 0, FOREVER, 1000, None, None, "small"), "events_by_tenant"),
    ("log_of_run", (0, 0, FOREVER, 1000, None, None, None, "run-1-1", None), "events_by_run"),
    ("log_of_correlation", (0, 0, FOREVER, 1000, None, None, None, "c-1-1", None), "events_by_correlation"),
    ("stream", ("1-1", "default", "order", 1, FOREVER, None, 100), "events_by_stream"),
    ("stream_backward", ("1-1", "default", "order", 1, FOREVER, None, 1), "events_by_stream"),
    ("version", ("1-1", "default", "order"), "events_by_stream"),
]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("name", "arguments", "index"), PLANS, ids=[plan[0] for plan in PLANS])
async def test_a_query_uses_its_index(
    grown: Database, name: str, arguments: tuple[Any, ...], index: str, mode: str
) -> None:
    await _grow(grown)
    connection = await asyncpg.connect(grown.worker_url, server_settings=PLANNING)
    plan = await explained(connection, mode, queries()[name], *arguments)
    await connection.close()
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan or name == "log_of_correlation", plan
    touched = re.search(r"Buffers: shared hit=(\d+)", plan)
    assert touched, plan
    assert int(touched[1]) < (300 if name[:3] == "log" and "of" not in name else 60), plan


async def test_the_tail_is_one_descent_of_the_index(grown: Database) -> None:
    await _grow(grown)
    connection = await asyncpg.connect(grown.admin_url)
    before = await connection.fetchval("SELECT count(*) FROM headwater.events")
    rows = await connection.fetch("EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM headwater.place(0::smallint)")
    rows = await connection.fetch("EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM headwater.place(0::smallint)")
    await connection.close()
    plan = "\n".join(row[0] for row in rows)
    touched = re.search(r"Buffers: shared hit=(\d+)", plan)
    assert touched, plan
    assert before > 9000
    assert int(touched[1]) < 10, plan

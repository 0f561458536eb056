"""Whoever looks for work reads what it takes, however much there is besides."""

from __future__ import annotations

import re
from collections.abc import Iterator

import asyncpg
import pytest

from headwater.log.postgres.connections import PLANNING
from headwater.log.postgres.statements import queries
from tests.integration.postgres.plans import explained
from tests.servers.postgres import Database, PostgresServer, Template

# Of 20,000 fences a third are held by one of three workers, a third are free, a third lie still; one in seven is a
# suspect. Of 20,000 ready rows a quarter are held, and of the rest most are not due. One entry in 5,000 has failed.
GROW = """
INSERT INTO headwater.workers SELECT w, 'here', 600000000, now, now, ''::bytea
FROM headwater.now_us() now, unnest(ARRAY['w0', 'w1', 'w2']) w;
INSERT INTO headwater.fences (tenant, key, wakes, woken_at, trial, label, holder)
SELECT 'default', i, CASE WHEN i % 3 = 2 OR i % 3 = 0 AND i % 9 > 0 THEN 0 ELSE 1 END, 20000 - i,
    CASE WHEN i % 7 = 0 THEN 1 + i % 2 ELSE 0 END, 'l' || i % 2, CASE WHEN i % 3 = 0 THEN 'w' || i % 2 END
FROM generate_series(1, 20000) i;
INSERT INTO headwater.ready (tenant, queue, key, priority, at, holder, data)
SELECT 'default', 'q' || i % 2, i, i % 20 / 7, CASE WHEN i % 50 < 10 THEN i ELSE 9000000000000000 END,
    CASE WHEN i % 4 = 0 THEN 'w1' END, ''::bytea::bytea
FROM generate_series(1, 20000) i;
INSERT INTO headwater.entries (tenant, list, key, at, label, status, data)
SELECT CASE WHEN i % 100 = 0 THEN 'small' ELSE 'default' END, 'runs', i, i, 'l',
    CASE WHEN i % 5000 = 0 THEN 'failed' WHEN i % 2 = 0 THEN 'done' ELSE 'running' END, ''::bytea
FROM generate_series(1, 20000) i;
"""
CALLS: dict[str, tuple[str, tuple[object, ...], int, int]] = {
    "take": ("take", ("w2", ["l0", "l1"], 5, False, []), 5, 150),
    "take of suspects": ("take", ("w2", ["l0", "l1"], 1, True, []), 1, 60),
    "take of nothing": ("take", ("w2", ["none"], 5, False, []), 0, 20),
    "woken": ("woken", ("w1", 5), 5, 150),
    "take_ready": ("take_ready", ("w2", ["q0", "q1", "none"], [3, 2, 1]), 5, 150),
    "held_ready": ("held_ready", ("w2",), 0, 20),
    "release": ("release", (None, ["default"] * 3, ["3", "6", "9"], [0, 0, 0], [0, 0, 0]), 2, 80),
    "sweep of nothing": ("sweep", ([], []), 1, 60),
    "entries": ("entries", (None, "runs", None, None, 2**63 - 1, "", 10), 10, 60),
    "entries of a status": ("entries", (None, "runs", None, ["failed"], 2**63 - 1, "", 10), 4, 40),
    "entries of a page": ("entries", ("default", "runs", None, None, 9000, "9000", 10), 10, 60),
    "entries of a tenant": ("entries_of_tenant", ("small", "runs", None, None, 2**63 - 1, "", 10), 10, 60),
    "entries of keys": (
        "entries_of_keys",
        (None, "runs", None, None, 2**63 - 1, "", 10, ["7", "8", "none"]),
        2,
        20,
    ),
}


@pytest.fixture(scope="module")
def grown(postgres_server: PostgresServer, postgres_template: Template) -> Iterator[Database]:
    database = Database.create(postgres_server, postgres_template)
    for statement in GROW.split(";\n")[:-1]:
        database.server.fetch(statement, database=database.name)
    yield database
    database.drop()


@pytest.mark.parametrize("analysed", [False, True], ids=["new tables", "known tables"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("call", CALLS)
async def test_looking_for_work_reads_what_it_takes(
    grown: Database, call: str, mode: str, analysed: bool
) -> None:
    if analysed:
        grown.server.fetch("ANALYZE", database=grown.name)
    name, arguments, count, most = CALLS[call]
    connection = await asyncpg.connect(grown.worker_url, server_settings=PLANNING)
    await connection.execute(f"SET plan_cache_mode = {mode}")
    transaction = connection.transaction()
    await transaction.start()
    assert len(await connection.fetch(queries()[name], *arguments)) == count
    await transaction.rollback()  # now its plans are made
    transaction = connection.transaction()
    await transaction.start()
    plan = await explained(connection, mode, queries()[name], *arguments)
    await transaction.rollback()
    await connection.close()
    touched = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    assert touched, plan
    assert int(touched[1] or 0) + int(touched[2] or 0) < most, plan

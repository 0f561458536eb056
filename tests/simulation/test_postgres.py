"""Worlds on a real Postgres: the log's promises hold, a seed is reproduced, and a planted bug is found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from headwater.errors import LogUnavailable, NotSupported, SchemaOutdated
from headwater.events.clock import ManualClock
from headwater.testing.simulation import Setup, SimulationFailure, simulate, sweep
from headwater.testing.simulation.postgres import PostgresStorage
from headwater.testing.simulation.world import Mode
from tests.scale import scaled
from tests.servers.postgres import OWNER, Database, PostgresServer, Template

SEEDS = scaled(5, 3)
MODES: tuple[Mode, ...] = ("fifo", "shuffled")
PROGRAM = Path(sys.executable).with_name("headwater")
ID = UUID(int=7)
HASH = bytes(32)


@pytest.mark.timeout(120)
def test_the_log_keeps_its_promises(postgres_database: Database) -> None:
    url = postgres_database.owner_url
    swept = sweep(Setup(seed, mode, "postgres", url) for seed in range(SEEDS) for mode in MODES)
    assert not swept.failures, swept.failures[0].report
    assert swept.simulations == SEEDS * len(MODES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", MODES)
def test_a_seed_gives_the_same_world_on_every_database(
    mode: Mode, postgres_database: Database, postgres_server: PostgresServer, postgres_template: Template
) -> None:
    other = Database.create(postgres_server, postgres_template)
    try:
        fingerprints = {
            simulate(Setup(2, mode, "postgres", url)).fingerprint
            for url in (postgres_database.owner_url, other.owner_url, postgres_database.owner_url)
        }
    finally:
        other.drop()
    assert len(fingerprints) == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("function", "there", "fault", "invariant"),
    [
        ("append", "sha256(chain ||", "sha256(decode(repeat('00', 32), 'hex') ||", "I7"),
        ("judge", "CASE WHEN accepted[s.call] THEN s.kind END", "s.kind", "side"),
    ],
)
def test_a_fault_in_postgres_is_found(
    function: str, there: str, fault: str, invariant: str, postgres_database: Database
) -> None:
    plant(postgres_database, function, there, fault)
    for seed in range(20):
        try:
            simulate(Setup(seed, "fifo", "postgres", postgres_database.owner_url), shorten=False)
        except SimulationFailure as failed:
            found = failed.failure.invariant
            break
    else:
        found = "nothing"
    assert found == invariant


def test_what_a_crashed_process_had_sent_is_carried_out_and_its_connections_are_gone(
    postgres_database: Database,
) -> None:
    async def crash(storage: PostgresStorage) -> None:
        backend = storage.backend(ManualClock())
        await backend.open()
        entered = backend.transaction()
        await entered.__aenter__()
        assert storage.left()
        storage.crashed(backend)
        assert not storage.left()
        await backend.put_blobs("default", [(HASH, b"sent before the crash")])
        assert await backend.get_blobs("default", [HASH]) == {HASH: b"sent before the crash"}
        with pytest.raises(LogUnavailable):
            await entered.__aexit__(None, None, None)

    with closing(PostgresStorage(postgres_database.owner_url, ManualClock(), ID)) as storage:
        asyncio.run(crash(storage))


def test_a_database_is_refused_that_must_not_be_emptied(
    postgres_database: Database, postgres_server: PostgresServer
) -> None:
    take = lambda url: PostgresStorage(url, ManualClock(), ID)  # noqa: E731
    with pytest.raises(NotSupported, match="name a migrated database"):
        take(None)
    with pytest.raises(NotSupported, match="Log in as the owner"):
        take(postgres_database.worker_url)
    empty = postgres_server.create_database(owner=OWNER)
    with pytest.raises(SchemaOutdated, match="no log in this database"):
        take(postgres_server.url(role=OWNER, database=empty))
    postgres_server.drop_database(empty)
    write_an_event(postgres_database)
    with pytest.raises(NotSupported, match="would delete them"):
        take(postgres_database.owner_url)


def test_a_database_is_one_simulations_at_a_time(postgres_database: Database) -> None:
    url = postgres_database.owner_url
    with (
        closing(PostgresStorage(url, ManualClock(), ID)),
        pytest.raises(NotSupported, match="Another simulation"),
    ):
        PostgresStorage(url, ManualClock(), ID)
    write_an_event(postgres_database)
    PostgresStorage(url, ManualClock(), ID).close()
    assert not run(postgres_database, "SELECT FROM headwater.events")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--storage", "postgres"], 2, "name one of its own with --url"),
        (["--storage", "postgres", "--url", "{worker}"], 3, "Log in as the owner"),
        (["--storage", "postgres", "--url", "{owner}", "--jobs", "2"], 2, "leave out --jobs"),
        (["--storage", "memory", "--url", "{owner}"], 2, "Only --storage postgres has an address"),
        (["--storage", "postgres", "--url", "{owner}"], 0, "1 worlds, 0 failed"),
    ],
)
def test_the_command_empties_only_what_it_was_given(
    arguments: list[str], code: int, said: str, postgres_database: Database
) -> None:
    urls = {"worker": postgres_database.worker_url, "owner": postgres_database.owner_url}
    done = subprocess.run(
        [PROGRAM, "simulate", "--seed", "1", *[argument.format(**urls) for argument in arguments]],
        env={**os.environ, "HEADWATER_URL": postgres_database.owner_url},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


def plant(database: Database, function: str, there: str, fault: str) -> None:
    [[code]] = run(database, f"SELECT pg_get_functiondef('headwater.{function}'::regproc)")
    assert there in code, f"{function} no longer says {there!r}: plant the fault anew"
    run(database, code.replace(there, fault))


def write_an_event(database: Database) -> None:
    run(
        database,
        "INSERT INTO headwater.events (position, version, occurred_at, recorded_at, event_id, schema_version,"
        " spec_version, shard, tenant, stream_type, stream_id, type, encoding, digest, chain)"
        " VALUES (1, 1, 1, 1, gen_random_uuid(), 1, 1, 0, 'default', 'a', 'a', 'a', 'json', '', '')",
    )


def run(database: Database, sql: str) -> list[list[str]]:
    return [list(row) for row in database.server.fetch(sql, database=database.name)]

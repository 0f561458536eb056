"""A database for each test, and a log on it as the worker's role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from headwater.log.log import Log
from headwater.log.postgres.backend import PostgresBackend
from tests.servers.postgres import Database


@pytest.fixture
async def log(postgres_database: Database) -> AsyncIterator[Log]:
    async with Log(PostgresBackend(postgres_database.worker_url)) as log:
        yield log


@pytest.fixture
async def admin(postgres_database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The superuser, who looks on."""
    connection = await asyncpg.connect(postgres_database.admin_url)
    yield connection
    await connection.close()


@pytest.fixture
async def program(postgres_database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection of a program of its own, as the worker's role."""
    connection = await asyncpg.connect(postgres_database.worker_url)
    yield connection
    await connection.close()

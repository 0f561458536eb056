"""Fixtures for tests that are the same on every backend: where a log is kept, and a log there."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headwater.log.log import Log
from headwater.testing.contract import Site
from tests.contract.sites import MemorySite, PostgresSite, SqliteSite


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from site_of(request, tmp_path)


def site_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """The site that a fixture's parameter names, for as long as the fixture lives."""
    if request.param == "memory":
        yield MemorySite()
    elif request.param == "sqlite":
        yield SqliteSite(tmp_path)
    else:
        postgres = PostgresSite(request.getfixturevalue("postgres_template"))
        yield postgres
        postgres.drop()


@pytest.fixture
async def log(site: Site) -> AsyncIterator[Log]:
    async with Log(site.backend()) as log:
        yield log

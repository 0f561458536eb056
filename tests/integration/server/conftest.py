"""The server is tested over every backend, by the same tests."""

from collections.abc import AsyncIterator

import pytest

from headwater.log.log import Log
from headwater.server.application import server_registry
from headwater.testing.contract import Site
from tests.contract.sites import MemorySite
from tests.integration.server.listening import Place, serving
from tests.integration.server.shop import app


@pytest.fixture
async def log(site: Site) -> AsyncIterator[Log]:
    async with Log(site.backend(), server_registry(app)) as log:
        yield log


@pytest.fixture
async def memory() -> AsyncIterator[Log]:
    async with Log(MemorySite().backend(), server_registry(app)) as log:
        yield log


@pytest.fixture
async def place(log: Log) -> AsyncIterator[Place]:
    """A server with a worker beside it."""
    async with serving(app, log, worker=True) as place:
        yield place

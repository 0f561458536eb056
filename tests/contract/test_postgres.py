"""The contract on the Postgres backend, as the worker's role: neither superuser nor owner."""

from collections.abc import Iterator

import pytest

from headwater.testing.contract import LogContract
from tests.contract.sites import PostgresSite
from tests.servers.postgres import Template


class TestPostgres(LogContract):
    @pytest.fixture
    def site(self, postgres_template: Template) -> Iterator[PostgresSite]:
        site = PostgresSite(postgres_template)
        yield site
        site.drop()

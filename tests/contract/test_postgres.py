"""The contract on the Postgres backend, as the worker's role: neither superuser nor owner."""

from collections.abc import Iterator

import pytest

from headwater.testing.contract import LogContract
from tests.contract.sites import PostgresSite
from tests.servers.postgres import Template


class TestPostgres(LogContract):
    # some 1,400 connections, and some 25 databases: more than a minute on a machine that is busy with other things
    test_a_cut_after_each_byte_sent = pytest.mark.timeout(180)(LogContract.test_a_cut_after_each_byte_sent)
    test_random_calls_agree_with_a_model_of_plain_lists = pytest.mark.timeout(180)(
        LogContract.test_random_calls_agree_with_a_model_of_plain_lists
    )

    @pytest.fixture
    def site(self, postgres_template: Template) -> Iterator[PostgresSite]:
        site = PostgresSite(postgres_template)
        yield site
        site.drop()

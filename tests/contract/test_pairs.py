"""A log moves between every pair of backends: same events, chain and cursors, and it goes on where it was."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.testing.contract import Site, carried_over
from tests.contract.sites import MemorySite, PostgresSite, SqliteSite
from tests.servers.postgres import Template

Make = Callable[[str], Site]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    postgres: list[PostgresSite] = []

    def make(name: str) -> Site:
        match name:
            case "memory":
                return MemorySite()
            case "sqlite":
                return SqliteSite(tmp_path)
            case _:
                template: Template = request.getfixturevalue("postgres_template")
                postgres.append(PostgresSite(template))
                return postgres[-1]

    yield make
    for site in postgres:
        site.drop()


@pytest.mark.parametrize("target", ["memory", "sqlite", "postgres"])
@pytest.mark.parametrize("source", ["memory", "sqlite", "postgres"])
def test_a_log_moves(source: str, target: str, make: Make) -> None:
    asyncio.run(carried_over(make(source), make(target)))

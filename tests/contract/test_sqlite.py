"""The contract on the SQLite backend."""

from pathlib import Path

import pytest

from headwater.testing.contract import LogContract
from tests.contract.sites import SqliteSite


class TestSqlite(LogContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> SqliteSite:
        return SqliteSite(tmp_path)

"""The contract on the memory backend."""

import pytest

from headwater.testing.contract import LogContract
from tests.contract.sites import MemorySite


class TestMemory(LogContract):
    @pytest.fixture
    def site(self) -> MemorySite:
        return MemorySite()

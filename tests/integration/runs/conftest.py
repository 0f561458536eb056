"""Where the store of runs is tested: on every backend, by the same tests."""

import pytest

from headwater.log.log import Log
from headwater.runs.store import Runs


@pytest.fixture
def runs(log: Log) -> Runs:
    return Runs(log)

"""Where projections are tested: on every backend, by the same tests."""

import pytest

from headwater.log.log import Log
from headwater.projections.open import store_for
from headwater.projections.stores import Store


@pytest.fixture
def store(log: Log) -> Store:
    return store_for(log)

"""A little of the storm over runs; `make chaos` lets it blow for longer."""

import pytest

from tests.chaos.run_storm import storm
from tests.chaos.storm import PLACES

SECONDS = 8


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("place", PLACES)
async def test_every_run_ends_right_whatever_is_killed(place: str) -> None:
    happened = await storm(place, SECONDS, seed=1)
    assert happened["runs"] > 10
    assert happened.get("kill", 0) + happened.get("freeze", 0) + happened.get("crash the server", 0) > 0

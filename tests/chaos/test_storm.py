"""Half a minute of the storm; `make chaos` lets it blow for longer."""

import pytest

from tests.chaos.storm import PLACES, storm

SECONDS = 15


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("place", PLACES)
async def test_every_promise_outlives_the_storm(place: str) -> None:
    happened = await storm(place, SECONDS, seed=1)
    assert happened["promises"] > 100
    assert {"kill", "stop for a while"} <= happened.keys()

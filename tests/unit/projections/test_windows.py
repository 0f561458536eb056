"""Windows by event time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from headwater.errors import DeclarationRefused
from headwater.projections.windows import Windowed

HOUR = Windowed(timedelta(hours=1))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_window_holds_its_beginning_and_not_its_end() -> None:
    assert HOUR.of("k", NOON) == "k@2026-03-01T12:00:00Z"
    assert HOUR.of("k", NOON + timedelta(minutes=59, seconds=59)) == "k@2026-03-01T12:00:00Z"
    assert HOUR.of("k", NOON + timedelta(hours=1)) == "k@2026-03-01T13:00:00Z"
    assert HOUR.of("k", NOON - timedelta(microseconds=1)) == "k@2026-03-01T11:00:00Z"


def test_a_moment_is_in_the_same_window_in_every_zone() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert HOUR.of("k", elsewhere) == HOUR.of("k", NOON)


def test_windows_before_1970_lie_side_by_side_too() -> None:
    assert HOUR.of("k", datetime(1969, 12, 31, 23, 30, tzinfo=UTC)) == "k@1969-12-31T23:00:00Z"


def test_what_has_no_length_or_no_zone_is_refused() -> None:
    with pytest.raises(DeclarationRefused, match="length"):
        Windowed(timedelta(0))
    with pytest.raises(DeclarationRefused, match="zone"):
        HOUR.of("k", datetime(2026, 3, 1))  # noqa: DTZ001

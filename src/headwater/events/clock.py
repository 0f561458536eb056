"""Time as a parameter: microseconds since 1970, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    def now_us(self) -> int: ...


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000


class SteadyClock:
    """Time since some moment, which nobody can set: for how long it is between two looks."""

    def now_us(self) -> int:
        return time.monotonic_ns() // 1000


class ManualClock:
    """A clock that stands still until it is moved, for tests; it may be moved back."""

    def __init__(self, now: datetime | int = 1_700_000_000_000_000) -> None:
        self._now = now if isinstance(now, int) else to_us(now)

    def now_us(self) -> int:
        return self._now

    def move(self, by: timedelta) -> None:
        self._now += by // _MICROSECOND


def to_us(moment: datetime) -> int:
    """Microseconds of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)

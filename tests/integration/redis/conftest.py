"""Hints of one log through a Redis, and logs that have nothing else to be hinted by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from headwater.log.log import Log, LogOptions
from headwater.log.open import open_log
from headwater.log.redis_hints import RedisHints

Connect = Callable[[str], RedisHints]
Open = Callable[..., Awaitable[Log]]


@pytest.fixture
def incarnation() -> UUID:
    return uuid4()


@pytest.fixture
async def connect(incarnation: UUID) -> AsyncIterator[Connect]:
    """Make the hints of a process; they are closed when the test ends."""
    async with AsyncExitStack() as closing:

        def make(url: str) -> RedisHints:
            hints = RedisHints(url)
            hints.open(incarnation)
            closing.push_async_callback(hints.close)
            return hints

        yield make


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new log."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    database = request.getfixturevalue("postgres_database")
    return str(database.worker_url)


@pytest.fixture
async def open_with(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Open the log as a process does whose environment names a Redis."""
    async with AsyncExitStack() as closing:

        async def opened(redis: str, poll: float) -> Log:
            monkeypatch.setenv("HEADWATER_REDIS_URL", redis)
            return await closing.enter_async_context(open_log(url, options=LogOptions(poll=poll)))

        yield opened

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.client import Client
from headwater.events.registry import Registry
from headwater.log.open import open_log
from headwater.runs.events import register_run_events
from headwater.testing.invariants import check
from tests.integration.engine.shop import app


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    address: str = request.getfixturevalue("postgres_database").worker_url
    return address


@pytest.fixture
async def hw(url: str) -> AsyncIterator[Client]:
    """A client without a worker; at the end, whatever happened, the log must be right."""
    async with app.connect(url, worker=False) as client:
        yield client
    await check_everything(url)


async def check_everything(url: str) -> None:
    """The invariants of the log, every run's fold, and one result a step at most."""
    registry = register_run_events(Registry())
    async with open_log(url, registry=registry) as log:
        await check(log)
        results: set[tuple[str, int]] = set()
        streams: set[str] = set()
        async for recorded in log.read(stream_types=("run",)):
            streams.add(recorded.stream.id)
            if recorded.type in {"step_completed", "step_failed"}:
                place = (recorded.stream.id, recorded.data["call"])
                assert place not in results, f"two results for {place}"
                results.add(place)
        from headwater.runs.store import Runs

        runs = Runs(log)
        for run in streams:
            state = await runs.get(run, snapshots=False)
            [listed] = await log.backend.entries("default", "runs", keys=[run])
            assert listed.status == state.status, (run, listed, state.status)

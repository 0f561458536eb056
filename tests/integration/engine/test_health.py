"""A worker that gets nothing done says so, whether its process lives or not."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import pytest

from headwater.engine.health import health
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.log.open import backend_for
from headwater.runs.events import register_run_events
from headwater.testing.proxy import Proxy
from headwater.worker import start
from tests.integration.engine.shop import app
from tests.servers.postgres import Database


@pytest.mark.timeout(60)
async def test_a_worker_whose_database_is_silent_is_unwell_within_ten_seconds(
    postgres_database: Database,
) -> None:
    parts = urlsplit(postgres_database.worker_url)
    now = asyncio.get_running_loop().time
    async with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        login = parts.netloc.rpartition("@")[0]
        url = urlunsplit(parts._replace(netloc=f"{login}@{proxy.host}:{proxy.port}"))
        async with Log(backend_for(url), register_run_events(Registry(*app.events))) as log:
            engine = await start(app, log)
            try:
                assert health(engine, now()).ok
                proxy.stall("received")
                async with asyncio.timeout(10):
                    while health(engine, now()).ok:
                        await asyncio.sleep(0.1)
                assert {"dispatch", "heartbeat"} <= set(health(engine, now()).stuck)
                proxy.resume("received")
                async with asyncio.timeout(10):
                    while not health(engine, now()).ok:
                        await asyncio.sleep(0.1)
            finally:
                await engine.stop()
            assert not health(engine, now()).ok

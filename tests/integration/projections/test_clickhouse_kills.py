"""Workers and their ClickHouse die by SIGKILL, again and again: the projection equals the fold of the log."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from headwater.log.open import open_log
from headwater.projections.clickhouse import ClickHouseStates
from headwater.projections.rebuild import live_of, verify
from headwater.projections.states import States
from tests.integration.projections.shop import BY_STREAM, Paid, Spent, pay
from tests.servers.clickhouse import ClickHouseServer

WORKER = """
import asyncio, sys
from dataclasses import replace
from headwater.log.open import open_log
from headwater.projections.clickhouse import ClickHouseStates
from headwater.projections.projector import Projector
from tests.integration.projections.shop import BY_STREAM, Paid

async def main():
    kept = ClickHouseStates(sys.argv[2])
    async with open_log(sys.argv[1], Paid) as log:
        # a small batch, so that it has much to write
        projector = Projector(log, [replace(BY_STREAM, store=kept)], lease=0.5, batch=3)
        await projector.start()
        await asyncio.Event().wait()

asyncio.run(main())
"""
ROUNDS = 6


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_workers_and_clickhouse_are_killed(
    tmp_path: Path, private_clickhouse: ClickHouseServer
) -> None:
    url, chance = f"sqlite:///{tmp_path}/shop.db", Random(1)
    kept = ClickHouseStates(private_clickhouse.url)
    projection = replace(BY_STREAM, store=kept)
    paid: dict[str, int] = {}
    async with open_log(url, Paid) as log:
        store = kept(log)
        await live_of(store, projection)
        for round in range(ROUNDS):
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, url, private_clickhouse.url
            )
            folded = (await live_of(store, projection)).position
            for _ in range(60):
                order = f"o{chance.randrange(9)}"
                paid[order] = paid.get(order, 0) + 1
                position = await pay(log, order, 1)
            until = chance.randint(folded + 1, position)
            while (await live_of(store, projection)).position < until:
                await asyncio.sleep(0.001)
            if round % 2:
                private_clickhouse.kill()
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
            if round % 2:
                await asyncio.to_thread(private_clickhouse.start)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, url, private_clickhouse.url
        )
        states = States(log, projection)
        await states.caught_up(position)
        for order, events in paid.items():
            assert await states.state(f"order/{order}") == Spent(cents=events, events=events)
        worker.terminate()
        await worker.wait()
        assert (await verify(log, projection, store, lease=2.0)).different == ()
    await kept.close()

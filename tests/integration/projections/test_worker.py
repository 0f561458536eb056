"""A declared projection is kept up to date by whoever works for the app."""

import asyncio
from pathlib import Path

from headwater import Headwater
from headwater.log.open import open_log
from headwater.projections.states import States
from tests.integration.projections.shop import BY_STREAM, Paid, Spent, pay


async def test_an_embedded_worker_folds_what_the_app_declares(tmp_path: Path) -> None:
    app = Headwater("shop")
    app.project(BY_STREAM)
    url = f"sqlite:///{tmp_path}/shop.db"
    async with app.connect(url), open_log(url, Paid) as log, asyncio.timeout(20):
        states = States(log, BY_STREAM)
        await states.caught_up(await pay(log, "a", 1, 2))
        assert await states.state("order/a") == Spent(cents=3, events=2)

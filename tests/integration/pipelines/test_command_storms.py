"""Commands at once: each counts once, and all come to an end."""

from __future__ import annotations

import asyncio

from headwater.log.log import Log
from headwater.testing.contract import Site
from tests.integration.pipelines.accounts import Pay, accounts


async def test_a_storm_on_one_account_comes_to_an_end(log: Log, site: Site) -> None:
    async with Log(site.backend()) as other:
        services = [accounts().on(one) for one in (log, other)]
        answers = await asyncio.gather(
            *[services[n % 2].handle("a", Pay(cents=1), key=f"k{n}") for n in range(250)]
        )
    assert sorted(answer.version for answer in answers) == list(range(1, 251))


async def test_one_without_events_is_new_to_one_of_those_who_send_it_at_once(log: Log) -> None:
    service = accounts().on(log)
    answers = await asyncio.gather(*[service.handle("a", Pay(cents=0), key="k") for _ in range(5)])
    assert sum(answer.new for answer in answers) == 1

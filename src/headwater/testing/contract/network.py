"""The contract of a lost connection: cut anywhere in the exchange, the log appends again, and each event is there once.

The exchange of an append is repeated with a cut after each of its bytes, in either direction: from nothing sent,
through a request that arrived and an answer that did not, to all of it.
"""

from __future__ import annotations

import asyncio

from headwater.events.envelope import Stream
from headwater.log.side import TakeKey
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, everything, write
from headwater.testing.contract.site import Site
from headwater.testing.contract.watching import watched
from headwater.testing.invariants import Witness, check
from headwater.testing.proxy import Direction, Proxy

_LANES = 12
_SHORTEST = 50


class NetworkContract:
    @behaviour("network", checked=False, patience=170)
    async def test_a_cut_after_each_byte_sent(self, site: Site) -> None:
        await _cut_everywhere(site, "sent")

    @behaviour("network", checked=False)
    async def test_a_cut_after_each_byte_received(self, site: Site) -> None:
        await _cut_everywhere(site, "received")

    @behaviour("network", checked=False)
    async def test_connections_that_drop_under_load(self, site: Site) -> None:
        witness = Witness()
        async with watched(site), Proxy(*site.address()) as proxy:
            async with site.open(site.backend_at(proxy.host, proxy.port)) as log:
                calls = [asyncio.create_task(witness.append(log, write(ONE))) for _ in range(300)]
                for _ in range(10):
                    await asyncio.sleep(0.01)
                    proxy.drop()
                await asyncio.gather(*calls)
        async with site.open() as log:
            await check(log, witness.acknowledged)
            assert len(await everything(log)) == 300

    @behaviour("network")
    async def test_a_reader_that_follows_outlives_a_lost_connection(self, site: Site) -> None:
        async with Proxy(*site.address()) as proxy, site.open() as log:
            async with site.open(site.backend_at(proxy.host, proxy.port)) as far:
                seen: list[int] = []

                async def follow() -> None:
                    async for event in far.subscribe():
                        seen.append(event.position)

                follower = asyncio.create_task(follow())
                for n in range(1, 6):
                    await log.append(write(ONE))
                    proxy.drop()
                    while len(seen) < n:
                        assert not follower.done(), follower.exception()
                        await asyncio.sleep(0.005)
                follower.cancel()
                await asyncio.wait([follower])
                assert seen == [1, 2, 3, 4, 5]

    @behaviour("network")
    async def test_an_append_waits_for_a_server_that_is_away_for_a_moment(self, site: Site) -> None:
        async with Proxy(*site.address()) as proxy:
            async with site.open(site.backend_at(proxy.host, proxy.port)) as log:
                await log.append(write(ONE))
                proxy.refuse = True
                proxy.drop()
                waiting = asyncio.create_task(log.append(write(ONE)))
                await asyncio.sleep(0.1)
                proxy.refuse = False
                try:
                    [appended] = await waiting
                except Exception:  # noqa: BLE001 - it may also have failed, loudly and without a trace
                    assert await log.version(ONE) == 1
                else:
                    assert appended.version == 2


async def _cut_everywhere(site: Site, direction: Direction) -> None:
    """Cut after 0 bytes, 1 byte, and so on, until the exchange is over before the cut; on several logs at once."""
    witness = Witness()
    keys = 0

    async def lane(number: int) -> None:
        nonlocal keys
        stream = Stream("card", f"lane-{number}")
        async with Proxy(*site.address()) as proxy:
            async with site.open(site.backend_at(proxy.host, proxy.port)) as log:
                after, uncut = number, 0
                while uncut < 2:
                    await log.append(write(stream))  # on a connection that is warm again
                    cuts, keys = proxy.cuts, keys + 1
                    proxy.cut(after=after, direction=direction)
                    await witness.append(log, write(stream, TakeKey(f"{direction}-{keys}", "me"), events=2))
                    proxy.disarm()
                    uncut = 0 if proxy.cuts > cuts else uncut + 1
                    after += _LANES
                assert after > _SHORTEST, f"no cut happened after {after} bytes: is the log behind the proxy?"

    await asyncio.gather(*[lane(number) for number in range(_LANES)])
    async with site.open() as log:
        await check(log, witness.acknowledged)
        assert (
            len(witness.acknowledged)
            == 2 * keys
            == 2 * len(await log.backend.keys("default", direction, 100_000))
        )

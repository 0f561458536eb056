"""The contract of enlisted appends: they commit with the program's own transaction, and nobody waits for it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from headwater.errors import Conflict, KeyTaken, PayloadRefused, WrongVersion
from headwater.log.side import Fence, OpenFence, TakeKey
from headwater.log.write import NO_STREAM, Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, THREE, TWO, Noted, everything, first, write
from headwater.testing.contract.site import Site
from headwater.testing.contract.watching import watched


class _Stop(Exception):
    pass


class EnlistedContract:
    @behaviour()
    async def test_an_enlisted_append_takes_effect_at_commit(self, site: Site) -> None:
        async with site.open() as log, site.open() as other:
            async with log.transaction() as transaction:
                await transaction.append(write(ONE, TakeKey("k", "me"), events=2), write(TWO))
                await transaction.append(write(THREE))
                assert await other.version(ONE) == 0
            assert [event.stream for event in await everything(other)] == [ONE, ONE, TWO, THREE]
            assert (await log.backend.keys(TENANT))[0][2] == "me"

    @behaviour()
    async def test_a_rolled_back_transaction_appends_nothing(self, site: Site) -> None:
        async with watched(site), site.open() as log:
            with pytest.raises(_Stop):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE, TakeKey("k", "me")))
                    raise _Stop
            await log.append(write(TWO))
            assert [event.position for event in await everything(log)] == [1]
            assert await log.backend.keys(TENANT) == []

    @behaviour()
    async def test_a_conflict_at_commit_rolls_all_of_it_back(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, TakeKey("k", "me")))
            with pytest.raises(WrongVersion) as wrong:
                async with log.transaction() as transaction:
                    await transaction.append(write(TWO, TakeKey("k2", "me")))
                    await transaction.append(write(ONE, expect=NO_STREAM))
            assert (wrong.value.stream, wrong.value.expected, wrong.value.actual) == (ONE, 0, 1)
            with pytest.raises(KeyTaken) as taken:
                async with log.transaction() as transaction:
                    await transaction.append(write(TWO, TakeKey("k", "you")))
            assert (taken.value.key, taken.value.holder) == ("k", "me")
            assert (await log.head()).position == 1
            assert len(await log.backend.keys(TENANT)) == 1

    @behaviour()
    async def test_what_is_judged_is_the_log_at_commit(self, site: Site) -> None:
        async with site.open() as log, site.open() as other:
            await log.append(write(ONE, OpenFence("f")))
            with pytest.raises(Conflict):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE, expect=1))
                    await asyncio.wait_for(other.append(write(ONE, expect=1)), 10)
            with pytest.raises(Conflict):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE, expect=Fence("f", 0)))
                    await asyncio.wait_for(other.backend.claim(TENANT, ["f"], "thief"), 10)
            assert await log.version(ONE) == 2

    @behaviour()
    async def test_appends_of_one_transaction_see_each_other(self, site: Site) -> None:
        async with site.open() as log:
            async with log.transaction() as transaction:
                await transaction.append(write(ONE, expect=NO_STREAM))
                await transaction.append(write(ONE, expect=1))
            assert await log.version(ONE) == 2
            with pytest.raises(KeyTaken):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE, TakeKey("k", "a")))
                    await transaction.append(write(ONE, TakeKey("k", "b")))
            assert await log.version(ONE) == 2

    @behaviour()
    async def test_a_write_enlisted_twice_is_written_once(self, site: Site) -> None:
        async with site.open() as log:
            mine = write(ONE, expect=NO_STREAM)
            async with log.transaction() as transaction:
                await transaction.append(mine)
                await transaction.append(mine)
            async with log.transaction() as transaction:
                await transaction.append(mine)
            [appended] = await log.append(mine)
            assert (appended.positions, appended.known) == ((1,), (True,))

    @behaviour()
    async def test_a_client_that_stalls_before_commit_holds_up_nobody(self, site: Site) -> None:
        async with watched(site) as watch, site.open() as log, site.open() as other:
            await log.append(write(ONE, OpenFence("f")))
            async with log.transaction() as transaction:
                await transaction.append(write(ONE, Fence("f", 0), TakeKey("k", "me"), expect=1))
                for n in range(2, 12):
                    await asyncio.wait_for(other.append(write(TWO)), 5)
                    await asyncio.wait_for(log.append(write(THREE)), 5)
                    await asyncio.wait_for(watch.reached(2 * n - 1), 5)
            assert await log.version(ONE) == 2
            assert (await log.head()).position == 22

    @behaviour()
    async def test_poison_is_refused_when_it_is_enlisted(self, site: Site) -> None:
        async with site.open() as log:
            async with log.transaction() as transaction:
                with pytest.raises(PayloadRefused):
                    await transaction.append(write(ONE, TakeKey("k", "a"), TakeKey("k", "a")))
                await transaction.append(write(ONE))
            assert await log.version(ONE) == 1

    @behaviour()
    async def test_a_subscription_hears_of_an_enlisted_append(self, site: Site) -> None:
        async with site.open() as log:
            following = asyncio.create_task(first(1, log.subscribe()))
            await asyncio.sleep(0)
            async with log.transaction() as transaction:
                await transaction.append(write(ONE))
            [event] = await asyncio.wait_for(following, 10)
            assert event.stream == ONE

    @behaviour()
    async def test_large_payloads_can_be_enlisted(self, site: Site) -> None:
        noise = Noted(text=Random(3).randbytes(100_000).hex())
        async with site.open() as log:
            async with log.transaction() as transaction:
                await transaction.append(Write(ONE, [noise]))
            [event] = await everything(log)
            assert event.event == noise

    @behaviour("sql")
    async def test_the_programs_own_rows_commit_with_the_append_or_not_at_all(self, site: Site) -> None:
        async with site.open() as log:
            async with log.transaction() as transaction:
                await transaction.execute(site.note("kept"))
                await transaction.append(write(ONE))
            with pytest.raises(WrongVersion):
                async with log.transaction() as transaction:
                    await transaction.execute(site.note("lost"))
                    await transaction.append(write(ONE, expect=NO_STREAM))
            with pytest.raises(_Stop):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE))
                    await transaction.execute(site.note("lost too"))
                    raise _Stop
            assert await site.notes() == ["kept"]
            assert await log.version(ONE) == 1

    @behaviour("sql")
    async def test_a_stalled_transaction_with_rows_of_its_own_is_never_overtaken_unseen(
        self, site: Site
    ) -> None:
        async with watched(site), site.open() as log, site.open() as other:
            for n in range(5):
                async with log.transaction() as transaction:
                    await transaction.append(write(ONE, expect=n))
                    await transaction.execute(site.note(str(n)))
                    others = asyncio.create_task(
                        other.append(write(TWO))
                    )  # may have to wait for the program's row
                    await asyncio.sleep(0.02)
                await others
            assert await log.version(ONE) == 5
            assert sorted(await site.notes()) == list("01234")

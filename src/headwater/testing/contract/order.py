"""The contract of order: positions are gapless and in commit order, whoever writes, waits, rolls back or dies."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from random import Random

import pytest

from headwater.errors import Conflict, FenceLost
from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.side import Fence, OpenFence
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, THREE, TWO, everything, positions, raw, write
from headwater.testing.contract.site import Site
from headwater.testing.contract.watching import watched
from headwater.testing.invariants import Acknowledged, Witness, check

WRITER = """
import asyncio, json, sys, time
from headwater import Log, RawEvent, Stream, Write

async def main(name, count):
    async with Log(backend) as log:
        print(json.dumps({"ready": name}), flush=True)
        for n in range(count):
            mine = [Write(Stream("card", f"{name}.{(n + k) % 5}"), [RawEvent("counted", {"n": n})]) for k in range(3)]
            asked = time.monotonic_ns()
            places = await log.append(*mine)
            answered = time.monotonic_ns()
            for write, place in zip(mine, places):
                id = write.prepared[0].rows[0].event_id
                print(json.dumps(["default", str(id), place.position, place.version, asked, answered]), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


class OrderContract:
    @behaviour(checked=False)
    async def test_writers_on_several_handles_and_readers_that_watch(self, site: Site) -> None:
        witness = Witness()

        async def writer(log: Log, name: int) -> None:
            random = Random(name)
            for n in range(25):
                streams = random.sample([ONE, TWO, THREE], random.randint(1, 3))
                calls = [write(stream, events=random.randint(1, 4)) for stream in streams]
                with suppress(Conflict):
                    await witness.append(log, *calls, write(TWO, expect=n if n % 5 == 0 else -1))

        async with watched(site), site.open() as a, site.open() as b, site.open() as c:
            await asyncio.gather(*[writer(log, name) for name, log in enumerate((a, a, b, b, c))])
        async with site.open() as log:
            await check(log, witness.acknowledged)

    @behaviour("processes", checked=False)
    async def test_writers_in_several_processes_and_readers_that_watch(self, site: Site) -> None:
        async with watched(site):
            writers = [await _start(site, f"w{n}", 40) for n in range(3)]
            told = await asyncio.gather(*[_told(writer) for writer in writers])
            assert [writer.returncode for writer in writers] == [0, 0, 0]
        acknowledged = [promise for promises in told for promise in promises]
        assert len(acknowledged) == 3 * 40 * 3
        async with site.open() as log:
            await check(log, acknowledged)
            assert len(await positions(log.read())) == 3 * 40 * 3

    @behaviour("processes", checked=False)
    async def test_a_writer_killed_in_mid_append_loses_nothing_that_it_was_told(self, site: Site) -> None:
        random = Random(1)
        acknowledged: list[Acknowledged] = []
        async with watched(site), site.open() as log:
            for n in range(4):
                writer = await _start(site, f"w{n}", 1_000_000)
                assert writer.stdout is not None
                lines = [await writer.stdout.readline() for _ in range(random.randint(3, 60))]
                writer.kill()
                lines += [line async for line in writer.stdout if line.endswith(b"\n")]
                await writer.wait()
                acknowledged += [_promise(line) for line in lines]
                await asyncio.wait_for(log.append(write(ONE)), 10)
        async with site.open() as log:
            await check(log, acknowledged)
            events = await everything(log)
            assert len([event for event in events if event.stream.type == "card"]) % 3 == 0, "half an append"

    @behaviour()
    async def test_order_is_the_order_of_answers(self, site: Site) -> None:
        async with site.open() as a, site.open() as b:
            for n in range(1, 40):
                [appended] = await (a if n % 2 else b).append(write(ONE, expect=n - 1))
                assert appended.position == n
                assert await (b if n % 2 else a).version(ONE) == n

    @behaviour()
    async def test_one_of_two_that_expect_the_same_version_wins(self, site: Site) -> None:
        async with site.open() as a, site.open() as b:
            for n in range(20):
                outcomes = await asyncio.gather(
                    *[log.append(write(ONE, expect=n)) for log in (a, b, a, b)], return_exceptions=True
                )
                assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
                assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3

    @behaviour("hold", checked=False)
    async def test_an_append_stuck_in_the_middle_is_never_overtaken(self, site: Site) -> None:
        """The classic loss: a position is given, a later one commits first, and a cursor has passed the gap."""
        witness = Witness()
        async with watched(site) as watch, site.open() as a, site.open() as b, site.open() as c:
            await witness.append(a, write(ONE, OpenFence("f")))
            for n in range(3):
                async with site.hold("f"):
                    stuck = asyncio.create_task(witness.append(a, write(ONE, Fence("f", 0))))
                    await asyncio.sleep(0.05)
                    others = [asyncio.create_task(witness.append(log, write(TWO))) for log in (b, c)]
                    await asyncio.sleep(0.05)
                    assert not stuck.done(), "hold() holds nothing"
                await asyncio.gather(stuck, *others)
                await watch.reached(1 + (n + 1) * 3)
        async with site.open() as log:
            await check(log, witness.acknowledged)

    @behaviour("hold", checked=False)
    async def test_a_caller_that_gives_up_on_a_stuck_append_leaves_no_gap(self, site: Site) -> None:
        witness = Witness()
        async with watched(site):
            async with site.open() as b:
                await witness.append(b, write(ONE, OpenFence("f")))
                async with site.open() as a:
                    async with site.hold("f"):
                        stuck = asyncio.create_task(a.append(write(ONE, Fence("f", 0))))
                        await asyncio.sleep(0.05)
                        stuck.cancel()
                        await asyncio.wait([stuck])
                    await witness.append(b, write(TWO))
                await witness.append(b, write(TWO))
                assert await b.version(ONE) == 2, "a cancelled caller does not withdraw its write"
        async with site.open() as log:
            await check(log, witness.acknowledged)

    @behaviour("elsewhere", checked=False)
    async def test_a_transaction_idle_in_another_database_delays_no_reader(self, site: Site) -> None:
        async with site.idle_elsewhere(), watched(site) as watch, site.open() as log:
            for n in range(1, 11):
                await log.append(write(ONE))
                await asyncio.wait_for(watch.reached(n), 5)
        async with site.open() as log:
            await check(log)

    @behaviour("snapshot", checked=False)
    async def test_an_old_snapshot_under_load_stops_neither_writers_nor_readers(self, site: Site) -> None:
        witness = Witness()
        async with watched(site), site.open() as a, site.open() as b:
            await witness.append(a, write(ONE))
            async with site.old_snapshot():

                async def load(log: Log) -> None:
                    for _ in range(60):
                        await asyncio.gather(*[witness.append(log, write(ONE)) for _ in range(10)])

                await asyncio.gather(load(a), load(b))
        async with site.open() as log:
            await check(log, witness.acknowledged)
            assert await log.version(ONE) == 1201


class RaceContract:
    """A claim and an append under the old epoch: the claimant must have seen whatever the append wrote."""

    @behaviour()
    async def test_an_append_after_a_claim_is_refused(self, site: Site) -> None:
        async with site.open() as owner, site.open() as thief:
            await owner.append(write(ONE, OpenFence("f")))
            [mine] = await owner.backend.claim(TENANT, ["f"], "owner")
            await owner.append(write(ONE, Fence("f", mine.epoch)))
            [theirs] = await thief.backend.claim(TENANT, ["f"], "thief")
            outcome = await asyncio.gather(
                owner.append(write(ONE, Fence("f", mine.epoch))),
                thief.append(write(ONE, Fence("f", theirs.epoch))),
                return_exceptions=True,
            )
            assert [isinstance(o, list) for o in outcome] == [False, True]

    @behaviour()
    async def test_a_claim_after_an_append_sees_it(self, site: Site) -> None:
        async with site.open() as owner, site.open() as thief:
            await owner.append(write(ONE, OpenFence("f")))
            [mine] = await owner.backend.claim(TENANT, ["f"], "owner")
            await owner.append(write(ONE, Fence("f", mine.epoch)))
            await thief.backend.claim(TENANT, ["f"], "thief")
            assert await thief.version(ONE) == 2

    @behaviour()
    async def test_a_claim_and_a_stale_append_at_once_never_both_succeed(self, site: Site) -> None:
        async with site.open() as owner, site.open() as thief:
            stolen = 0
            for round in range(60):
                key, stream = f"f{round}", Stream("card", f"r{round}")
                await owner.append(write(stream, OpenFence(key)))
                [mine] = await owner.backend.claim(TENANT, [key], "owner")
                fence = Fence(key, mine.epoch)

                async def own(stream: Stream = stream, fence: Fence = fence) -> int:
                    for n in range(10):
                        try:
                            await owner.append(write(stream, fence))
                        except Conflict:
                            return n
                    return 10

                async def steal(stream: Stream = stream, key: str = key, delay: int = round % 12) -> int:
                    for _ in range(delay):
                        await asyncio.sleep(0.0003)
                    await thief.backend.claim(TENANT, [key], "thief")
                    return await thief.version(stream)

                written, seen = await asyncio.gather(own(), steal())
                assert seen == 1 + written == await thief.version(stream), "an append passed the claim"
                stolen += written < 10
            assert stolen, "no claim came in between: this test saw no race"

    @behaviour("hold")
    async def test_an_append_waits_for_a_claim_that_is_under_way_and_is_refused(self, site: Site) -> None:
        async with site.open() as owner:
            await owner.append(write(ONE, OpenFence("f")))
            async with site.hold("f", claim=True):
                stale = asyncio.create_task(owner.append(write(ONE, Fence("f", 0))))
                await asyncio.sleep(0.1)
                assert not stale.done(), "the append did not look whether a claim is under way"
            with pytest.raises(FenceLost):
                await stale
            await owner.append(write(ONE, Fence("f", 1)))
            assert await owner.version(ONE) == 2

    @behaviour()
    async def test_an_event_told_by_many_at_once_is_written_once(self, site: Site) -> None:
        async with site.open() as a, site.open() as b:
            for n in range(15):
                event = NewEvent(event=raw(n), id=derived_id(ONE, f"key-{n}"))
                placed = await asyncio.gather(*[log.append(Write(ONE, [event])) for log in (a, b, a, b)])
                assert {place.positions for [place] in placed} == {(n + 1,)}
                assert sorted(place.known for [place] in placed) == [(False,), (True,), (True,), (True,)]


async def _start(site: Site, name: str, count: int) -> asyncio.subprocess.Process:
    """A writer in another process, once it has opened the log."""
    code = site.code() + "\n" + WRITER
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, name, str(count), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == {"ready": name}
    return process


async def _told(writer: asyncio.subprocess.Process) -> list[Acknowledged]:
    """What a writer was told until its end."""
    assert writer.stdout is not None
    promises = [_promise(line) async for line in writer.stdout]
    await writer.wait()
    return promises


def _promise(line: bytes) -> Acknowledged:
    from uuid import UUID

    tenant, id, position, version, asked, answered = json.loads(line)
    return Acknowledged(tenant, UUID(id), position, version, asked, answered)

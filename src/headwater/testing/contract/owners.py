"""The contract of ownership: workers, the fences that they take, and the wakes that they are told of."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import timedelta

from headwater.errors import FenceLost
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.ownership import WorkerRow
from headwater.log.port import Release
from headwater.log.side import Fence, OpenFence, Wake
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, TWO, fence, fenced, refused, write
from headwater.testing.contract.site import Site

LEASE = timedelta(seconds=10)
US = timedelta(microseconds=1)
TAKER = """
import asyncio, json, sys
from headwater import Log

async def main(me):
    async with Log(backend) as log:
        print(json.dumps("ready"), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        taken = []
        while some := await log.backend.take(me, ["paper"], 3):
            taken += [(fence.key, fence.epoch) for fence in some]
        print(json.dumps(taken), flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def enrol(log: Log, *workers: str, lease: timedelta = LEASE) -> None:
    for worker in workers:
        await log.backend.enrol(WorkerRow(worker, "here", lease // US, b"{}"))


async def wake(log: Log, *keys: str, label: str = "paper") -> None:
    """Fences that are made, if they are not there, and woken: one after another."""
    for key in keys:
        await log.append(write(ONE, OpenFence(key, label)))
        await log.append(write(ONE, Wake(key)))


async def take(
    log: Log, holder: str, limit: int = 100, *, suspects: bool = False, labels: Sequence[str] = ("paper",)
) -> list[str]:
    """The keys that a worker then owns, in the order in which it took them."""
    return [fence.key for fence in await log.backend.take(holder, labels, limit, suspects=suspects)]


class WorkersContract:
    @behaviour()
    async def test_workers_are_listed_as_they_enrolled(self, site: Site) -> None:
        async with site.open() as log, site.open() as other:
            assert list(await log.backend.workers()) == []
            before = await log.backend.now_us()
            await log.backend.enrol(WorkerRow("w2", "there", 5, b"\x00\xff"))
            await log.backend.enrol(WorkerRow("w1", "here", 10, b""))
            after = await log.backend.now_us()
            first, second = [WorkerRow(*row) for row in await other.backend.workers()]
            assert (first[:4], second[:4]) == (("w1", "here", 10, b""), ("w2", "there", 5, b"\x00\xff"))
            for row in (first, second):
                assert before <= row.enrolled_at == row.beat_at <= after

    @behaviour()
    async def test_what_workers_hold_is_counted(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            await log.append(write(ONE, OpenFence("a", "paper"), OpenFence("b", "paper")))
            await log.append(write(TWO, OpenFence("c", "paper", "w2"), OpenFence("d", "paper")))
            assert await log.backend.held() == {"w2": 1}
            await log.append(write(ONE, Wake("a"), Wake("d")))
            taken = await log.backend.take("w1", ["paper"], 2)
            assert await log.backend.held() == {"w1": len(taken), "w2": 1}
            assert taken

    @behaviour("clock")
    async def test_a_beat_renews_the_lease_and_what_a_worker_says_of_itself(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            enrolled = (await log.backend.workers())[0].enrolled_at
            site.jump(LEASE * 0.75)
            beat = await log.backend.beat("w1", b"busy")
            first, second = [WorkerRow(*row) for row in await log.backend.workers()]
            assert beat == first.beat_at >= enrolled + LEASE * 0.75 // US
            assert (first.data, first.enrolled_at) == (b"busy", enrolled)
            assert (second.data, second.beat_at) == (b"{}", second.enrolled_at)
            site.jump(LEASE / 2)
            assert list((await log.backend.sweep()).workers) == ["w2"]

    @behaviour()
    async def test_a_beat_of_who_is_not_enrolled_says_so(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            assert await log.backend.beat("nobody", b"") is None
            await log.backend.sweep(dead=["w"])
            assert await log.backend.beat("w", b"") is None
            assert list(await log.backend.workers()) == []

    @behaviour("clock")
    async def test_enrolling_again_begins_the_lease_anew(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            site.jump(LEASE * 2)
            await enrol(log, "w")
            assert list((await log.backend.sweep()).workers) == []


class OwnersContract:
    @behaviour()
    async def test_a_fence_may_be_opened_as_its_makers_own(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f", "paper", holder="me")))
            assert await fence(log, "f") == fenced("f", 1, "me")._replace(label="paper")
            await log.append(write(ONE, OpenFence("f", "card", holder="you")))
            assert await fence(log, "f") == fenced("f", 1, "me")._replace(label="paper")
            await log.append(write(ONE, Fence("f", 1), Wake("f")))
            assert [(w.key, w.epoch, w.wakes) for w in await log.backend.woken("me")] == [("f", 1, 1)]

    @behaviour()
    async def test_taking_raises_the_epoch_so_that_the_one_before_is_refused(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            await wake(log, "f")
            [first] = await log.backend.take("w1", ["paper"], 10)
            assert tuple(first) == (TENANT, "f", "paper", 1, 1, 0, 0)
            assert await fence(log, "f") == fenced("f", 1, "w1", 1, 1)._replace(label="paper")
            await log.append(write(TWO, Fence("f", 1)))
            assert await log.backend.release([Release(TENANT, "f", 1, 1)]) == [True]
            await wake(log, "f")
            [second] = await log.backend.take("w2", ["paper"], 10)
            assert (second.epoch, second.wakes) == (2, 2)
            error = await refused(FenceLost, log, write(TWO, Fence("f", 1)))
            assert error.actual == 2

    @behaviour()
    async def test_a_worker_that_is_not_enrolled_is_given_nothing(self, site: Site) -> None:
        async with site.open() as log:
            await wake(log, "f")
            assert await take(log, "nobody") == []
            await enrol(log, "w")
            await log.backend.sweep(left=["w"])
            assert await take(log, "w") == []
            assert await fence(log, "f") == fenced("f", wakes=1)._replace(label="paper")

    @behaviour()
    async def test_the_longest_waiting_are_taken_first(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "c", "a", "d", "b", "c")
            assert await take(log, "w", 0) == []
            assert await take(log, "w", 2) == ["c", "a"]
            assert await take(log, "w", 5) == ["d", "b"]

    @behaviour()
    async def test_only_fences_of_the_labels_named_are_taken(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "f1")
            await wake(log, "g1", label="card")
            await wake(log, "f2")
            await wake(log, "h1", label="stamp")
            await wake(log, "g2", label="card")
            assert await take(log, "w", labels=[]) == await take(log, "w", labels=["nothing"]) == []
            assert await take(log, "w", 3, labels=["card", "paper", "card"]) == ["f1", "g1", "f2"]
            assert await take(log, "w", labels=["card", "paper"]) == ["g2"]
            assert await take(log, "w", labels=["stamp"]) == ["h1"]

    @behaviour()
    async def test_what_is_held_or_not_woken_is_passed_over(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            await log.append(write(ONE, OpenFence("asleep", "paper")))
            await log.append(write(ONE, OpenFence("held", "paper", holder="somebody"), Wake("held")))
            await wake(log, "f")
            assert await take(log, "w1") == ["f"]
            await wake(log, "f")
            assert await take(log, "w2") == []

    @behaviour()
    async def test_fences_of_all_tenants_are_taken(self, site: Site) -> None:
        theirs = Stream("paper", "one", "theirs")
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "f")
            await log.append(write(theirs, OpenFence("f", "paper"), Wake("f")))
            taken = await log.backend.take("w", ["paper"], 9)
            assert [(f.tenant, f.key, f.wakes) for f in taken] == [(TENANT, "f", 1), ("theirs", "f", 1)]
            await log.append(write(theirs, Fence("f", 1), Wake("f")))
            assert [(f.tenant, f.key) for f in await log.backend.woken("w")] == [("theirs", "f")]

    @behaviour()
    async def test_fences_of_some_tenants_may_be_passed_over(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "dead")
            for tenant in ("a", "b", "a", "c", "b"):
                for key in ("f", "g"):
                    stream = Stream("paper", "one", tenant)
                    await log.append(write(stream, OpenFence(key, "paper"), Wake(key)))

            async def taken(holder: str, limit: int, *without: str, suspects: bool = False) -> list[str]:
                found = await log.backend.take(holder, ["paper"], limit, suspects=suspects, without=without)
                return [f.tenant + f.key for f in found]

            assert await taken("w", 9, "a", "b", "c", "nobody") == []
            assert await taken("w", 1, "a", "c") == ["bf"]
            assert await taken("dead", 9, "b", "nobody") == ["af", "ag", "cf", "cg"]
            await log.backend.sweep(dead=["dead"])
            assert await taken("w", 9, "a", suspects=True) == ["cf", "cg"]
            assert await taken("w", 9, "b") == []
            assert await taken("w", 9, "c") == ["bg"]
            assert await taken("w", 9, suspects=True) == ["af", "ag"]

    @behaviour()
    async def test_each_wake_is_told_to_its_owner_once(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "other")
            await wake(log, "f", "g")
            await take(log, "w")
            await wake(log, "h")
            assert list(await log.backend.woken("w")) == []
            await log.append(write(ONE, Wake("f"), Wake("f"), Wake("g"), Wake("h")))
            assert list(await log.backend.woken("other")) == []
            found = sorted(tuple(row) for row in await log.backend.woken("w"))
            assert found == [(TENANT, "f", 1, 3), (TENANT, "g", 1, 2)]
            assert list(await log.backend.woken("w")) == []
            await log.append(write(ONE, Wake("f"), Wake("g")))
            first = [row.key for row in await log.backend.woken("w", 1)]
            second = [row.key for row in await log.backend.woken("w", 1)]
            assert sorted(first + second) == ["f", "g"]

    @behaviour()
    async def test_a_wake_after_the_taking_keeps_a_fence_from_being_let_go(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "other")
            await wake(log, "f")
            [taken] = await log.backend.take("w", ["paper"], 1)
            await wake(log, "f")
            assert await log.backend.release([Release(TENANT, "f", taken.epoch, taken.wakes)]) == [False]
            [woken] = await log.backend.woken("w")
            assert await log.backend.release([Release(TENANT, "f", woken.epoch, woken.wakes)]) == [True]
            assert await take(log, "other") == []
            await wake(log, "f")
            assert await take(log, "other") == ["f"]

    @behaviour()
    async def test_a_wake_that_is_needed_is_refused_where_the_fence_is_gone(self, site: Site) -> None:
        async with site.open() as log:
            await wake(log, "f")
            await log.append(write(ONE, Wake("f", needed=True)))
            assert await fence(log, "f") == fenced("f", wakes=2)._replace(label="paper")
            error = await refused(FenceLost, log, write(ONE, Wake("gone", needed=True)))
            assert (error.key, error.expected, error.actual) == ("gone", None, None)

    @behaviour()
    async def test_takers_on_several_handles_never_share_a_fence(self, site: Site) -> None:
        async with site.open() as a, site.open() as b, site.open() as c:
            logs = {"w1": a, "w2": b, "w3": c}
            await enrol(a, *logs)
            keys = [f"f{n}" for n in range(40)]
            await a.append(write(ONE, *(row for k in keys for row in (OpenFence(k, "paper"), Wake(k)))))

            async def all_it_gets(worker: str) -> list[str]:
                mine: list[str] = []
                while some := await take(logs[worker], worker, 3):
                    mine += some
                return mine

            taken = [key for some in await asyncio.gather(*map(all_it_gets, logs)) for key in some]
            # one that passes over what another is just taking may come back empty-handed
            taken += await take(a, "w1")
            assert sorted(taken) == sorted(keys)

    @behaviour("processes")
    async def test_takers_in_several_processes_never_share_a_fence(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2")
            keys = [f"f{n}" for n in range(60)]
            await log.append(write(ONE, *(row for k in keys for row in (OpenFence(k, "paper"), Wake(k)))))
            takers = [await _start(site, worker) for worker in ("w1", "w2")]
            told = await asyncio.gather(*[_told(taker) for taker in takers])
            left = await log.backend.take("w1", ["paper"], 100)
            taken = [*(pair for pairs in told for pair in pairs), *([f.key, f.epoch] for f in left)]
            assert sorted(taken) == sorted([key, 1] for key in keys)


async def _start(site: Site, worker: str) -> asyncio.subprocess.Process:
    """A process that waits to be told to take all that it can get."""
    taker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{site.code()}\n{TAKER}", worker),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert taker.stdout is not None
    assert json.loads(await taker.stdout.readline()) == "ready"
    return taker


async def _told(taker: asyncio.subprocess.Process) -> list[list[object]]:
    out, _ = await taker.communicate(b"\n")
    assert taker.returncode == 0
    taken: list[list[object]] = json.loads(out)
    return taken

"""The contract of sweeping: what dead, late and unknown workers hold is freed, and what may have killed them is tried
in ever smaller groups."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from headwater.errors import FenceLost, RowGone
from headwater.log.log import Log
from headwater.log.port import Release
from headwater.log.side import ClearReady, Fence, OpenFence, PutReady, Trust, Wake
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, fence, fenced, refused, write
from headwater.testing.contract.owners import LEASE, enrol, take, wake
from headwater.testing.contract.site import Site

KEYS = [f"f{n}" for n in range(8)]


async def suspicion(log: Log, *keys: str) -> set[tuple[int, int]]:
    """The trials and deaths of fences."""
    return {(row.trial, row.deaths) for row in await log.backend.fences(TENANT, keys)}


async def die(log: Log, worker: str, keys: Collection[str]) -> None:
    """A worker is found dead that held these fences."""
    swept = await log.backend.sweep(dead=[worker])
    assert (list(swept.workers), swept.fences) == ([worker], len(keys))


async def suspects(log: Log, worker: str) -> list[str]:
    """What a new worker is given of the suspects."""
    await enrol(log, worker)
    return await take(log, worker, suspects=True)


class SweepsContract:
    @behaviour("clock")
    async def test_a_late_worker_owns_what_it_holds_until_a_sweep(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "other")
            await wake(log, "f")
            assert await take(log, "w") == ["f"]
            site.jump(LEASE * 3)
            await log.append(write(ONE, Fence("f", 1), Wake("f")))
            assert await take(log, "other") == []
            assert await log.backend.beat("w", b"") is not None
            assert (await log.backend.sweep()).fences == 0
            await log.append(write(ONE, Fence("f", 1)))

    @behaviour("clock")
    async def test_a_sweep_frees_what_expired_workers_hold(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w2", lease=LEASE)
            await enrol(log, "patient", lease=LEASE * 3)
            for worker, key in (("w1", "f"), ("w2", "g"), ("patient", "h")):
                await wake(log, key)
                await log.append(write(ONE, PutReady("q", key)))
                assert await take(log, worker) == [key]
                assert [row.key for row in await log.backend.take_ready(worker, {"q": 5})] == [key]
            site.jump(LEASE / 2)
            assert tuple(await log.backend.sweep()) == ([], 0, 0)
            site.jump(LEASE)
            swept = await log.backend.sweep()
            assert (sorted(swept.workers), swept.fences, swept.ready) == (["w1", "w2"], 2, 2)
            assert [row.id for row in await log.backend.workers()] == ["patient"]
            assert await fence(log, "h") == fenced("h", 1, "patient", 1, 1)._replace(label="paper")
            held = {row.key: row.holder for row in await log.backend.ready(TENANT, "q")}
            assert held == {"f": None, "g": None, "h": "patient"}
            assert tuple(await log.backend.sweep()) == ([], 0, 0)

    @behaviour()
    async def test_a_freed_fence_is_raised_and_woken(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "next")
            await wake(log, "f")
            await take(log, "w")
            await log.backend.sweep(left=["w"])
            assert await fence(log, "f") == fenced("f", 2, None, 2, 1)._replace(label="paper")
            error = await refused(FenceLost, log, write(ONE, Fence("f", 1)))
            assert error.actual == 2
            assert await log.backend.release([Release(TENANT, "f", 1, 1)]) == [False]
            [taken] = await log.backend.take("next", ["paper"], 1)
            assert (taken.key, taken.epoch, taken.wakes) == ("f", 3, 2)

    @behaviour()
    async def test_a_freed_fence_goes_on_waiting_from_its_first_unseen_wake(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "next")
            await wake(log, "first")
            await take(log, "w")
            await wake(log, "first", "second")
            await log.backend.sweep(left=["w"])
            assert await take(log, "next", 1) == ["first"]

    @behaviour()
    async def test_a_freed_ready_row_keeps_its_claim_until_the_next(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w", "next")
            await log.append(write(ONE, PutReady("q", "a"), PutReady("q", "b")))
            await log.backend.take_ready("w", {"q": 2})
            assert (await log.backend.sweep(dead=["w"])).ready == 2
            assert {(r.holder, r.claim) for r in await log.backend.ready(TENANT, "q")} == {(None, 1)}
            await log.append(write(ONE, ClearReady("q", "a", claim=1)))
            assert [(r.key, r.claim) for r in await log.backend.take_ready("next", {"q": 9})] == [("b", 2)]
            await refused(RowGone, log, write(ONE, ClearReady("q", "b", claim=1)))

    @behaviour()
    async def test_what_is_held_by_who_left_or_is_unknown_is_not_suspected(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "f", "g", "h")
            assert await take(log, "w", 1) == ["f"]
            await log.backend.claim(TENANT, ["g"], "stranger")
            await log.append(write(ONE, OpenFence("own", "paper", holder="another")))
            swept = await log.backend.sweep(dead=["stranger"], left=["w"])
            assert tuple(swept) == (["w"], 3, 0)
            assert await suspicion(log, "f", "g", "own") == {(0, 0)}
            await enrol(log, "next")
            assert sorted(await take(log, "next")) == ["f", "g", "h", "own"]

    @behaviour("clock")
    async def test_who_says_that_it_leaves_is_not_suspected_however_late(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "f")
            await take(log, "w")
            site.jump(LEASE * 2)
            assert tuple(await log.backend.sweep(left=["w"])) == (["w"], 1, 0)
            assert await suspicion(log, "f") == {(0, 0)}

    @behaviour()
    async def test_naming_who_is_not_enrolled_frees_nothing(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w")
            await wake(log, "f")
            await take(log, "w")
            assert tuple(await log.backend.sweep(dead=["nobody"], left=["no one"])) == ([], 0, 0)
            assert await fence(log, "f") == fenced("f", 1, "w", 1, 1)._replace(label="paper")

    @behaviour()
    async def test_suspects_are_halved_until_the_guilty_one_is_alone(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w8", "clean")
            await wake(log, *KEYS)
            assert await take(log, "w8") == KEYS
            await die(log, "w8", KEYS)
            assert await suspicion(log, *KEYS) == {(4, 0)}
            assert await take(log, "clean") == []
            four = await suspects(log, "w4")
            assert len(four) == 4
            await die(log, "w4", four)
            assert await suspicion(log, *four) == {(2, 0)}
            innocent = await suspects(log, "v4")  # these have waited longer
            assert sorted(innocent + four) == KEYS
            await log.append(write(ONE, *map(Trust, innocent)))
            assert await suspicion(log, *innocent) == {(0, 0)}
            two = await suspects(log, "w2")
            assert len(two) == 2
            await die(log, "w2", two)
            assert await suspicion(log, *two) == {(1, 0)}
            others = await suspects(log, "v2")
            assert sorted(two + others) == sorted(four)
            for deaths in (1, 2):
                await enrol(log, f"w1-{deaths}", f"v1-{deaths}")
                one = await take(log, f"w1-{deaths}", suspects=True)
                other = await take(log, f"v1-{deaths}", suspects=True)
                assert sorted(one + other) == sorted(two)
                await die(log, f"w1-{deaths}", one)
                await die(log, f"v1-{deaths}", other)
                assert await suspicion(log, *two) == {(1, deaths)}
            [guilty] = await log.backend.take("clean", ["paper"], 9, suspects=True)
            assert (guilty.trial, guilty.deaths, guilty.epoch) == (1, 2, 11)

    @behaviour()
    async def test_a_trusted_fence_is_taken_with_the_others_again(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1")
            await wake(log, "f")
            await take(log, "w1")
            await die(log, "w1", ["f"])
            assert await suspicion(log, "f") == {(1, 0)}
            assert await suspects(log, "w2") == ["f"]
            await die(log, "w2", ["f"])
            assert await suspicion(log, "f") == {(1, 1)}
            await log.append(write(ONE, Trust("f"), Trust("nowhere")))
            assert await suspicion(log, "f") == {(0, 0)}
            assert await suspects(log, "w3") == []
            assert await take(log, "w3") == ["f"]

    @behaviour()
    async def test_a_trial_is_half_of_what_died_together_or_of_the_trial_before(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w5", "mixed")
            await wake(log, *KEYS[:5])
            await take(log, "w5")
            await die(log, "w5", KEYS[:5])
            assert await suspicion(log, *KEYS[:5]) == {(3, 0)}
            old = await take(log, "mixed", suspects=True)
            assert len(old) == 3
            await wake(log, *KEYS[5:])
            assert await take(log, "mixed") == KEYS[5:]
            await die(log, "mixed", [*old, *KEYS[5:]])
            assert await suspicion(log, *old) == {(2, 0)}
            assert await suspicion(log, *KEYS[5:]) == {(3, 0)}
            await enrol(log, "lone")
            assert len(await take(log, "lone", 1, suspects=True)) == 1

    @behaviour()
    async def test_each_dead_worker_has_its_own_suspects(self, site: Site) -> None:
        async with site.open() as log:
            await enrol(log, "w1", "w4", "next")
            await wake(log, *KEYS[:5])
            assert await take(log, "w1", 1) == KEYS[:1]
            assert await take(log, "w4") == KEYS[1:5]
            assert (await log.backend.sweep(dead=["w1", "w4"])).fences == 5
            assert await suspicion(log, KEYS[0]) == {(1, 0)}
            assert await suspicion(log, *KEYS[1:5]) == {(2, 0)}
            taken = [sorted(await take(log, "next", suspects=True)) for _ in range(3)]
            assert sorted(map(len, taken)) == [1, 2, 2]
            assert KEYS[:1] in taken

    @behaviour("clock")
    async def test_suspects_of_one_trial_are_taken_with_the_one_that_waits_longest(self, site: Site) -> None:
        async with site.open() as log:
            for worker, keys in (("w1", KEYS[:4]), ("w2", KEYS[4:6]), ("w3", KEYS[6:])):
                await enrol(log, worker)
                await wake(log, *keys)
                await take(log, worker)
                site.jump(timedelta(milliseconds=1))
                await log.backend.sweep(dead=[worker])
            await enrol(log, "next")
            taken = [await take(log, "next", suspects=True) for _ in range(5)]
            assert sorted(taken[0] + taken[1]) == KEYS[:4]
            assert [len(some) for some in taken] == [2, 2, 1, 1, 1]
            assert sorted(taken[2] + taken[3]) == KEYS[4:6]

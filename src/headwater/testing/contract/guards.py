"""The contract of side rows: keys, fences, due rows, ready rows and wake marks, which succeed or fail with a write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headwater.errors import FenceLost, HeadwaterError, KeyNotHeld, KeyTaken, RowGone, WrongVersion
from headwater.events.clock import to_us
from headwater.events.envelope import Stream
from headwater.log.port import DueRow, HeldKey, ReadyRow, Release
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutEntry,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
    WithdrawReady,
)
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TENANT, TWO, fence, fenced, refused, side_rows, write
from headwater.testing.contract.site import Site

EARLY, LATE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2901, 1, 1, tzinfo=UTC)


class KeysContract:
    @behaviour()
    async def test_a_key_is_taken_once(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, TakeKey("k", "me")))
            for holder in ("you", "me"):
                error = await refused(KeyTaken, log, write(ONE, TakeKey("k", holder)))
                assert (error.key, error.holder) == ("k", "me")
            assert [HeldKey(*row) for row in await log.backend.keys(TENANT)] == [HeldKey(TENANT, "k", "me")]

    @behaviour()
    async def test_a_key_that_was_given_back_can_be_taken(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, TakeKey("k", "me")))
            error = await refused(KeyNotHeld, log, write(ONE, GiveKey("k", "you")))
            assert (error.key, error.expected, error.holder) == ("k", "you", "me")
            await log.append(write(ONE, GiveKey("k", "me")))
            await log.append(write(ONE, TakeKey("k", "you")))
            assert (await log.backend.keys(TENANT))[0][2] == "you"

    @behaviour()
    async def test_giving_back_what_nobody_holds_is_refused_unless_it_may_be_missing(
        self, site: Site
    ) -> None:
        async with site.open() as log:
            error = await refused(KeyNotHeld, log, write(ONE, GiveKey("k", "me")))
            assert (error.key, error.expected, error.holder) == ("k", "me", None)
            await log.append(write(ONE, GiveKey("k", "me", missing_ok=True)))
            await log.append(write(ONE, TakeKey("k", "you")))
            await log.append(write(ONE, GiveKey("k", "me", missing_ok=True)))
            assert (await log.backend.keys(TENANT))[0][2] == "you"

    @behaviour()
    async def test_a_needed_key_must_be_held_by_the_one_named(self, site: Site) -> None:
        async with site.open() as log:
            error = await refused(KeyNotHeld, log, write(ONE, NeedKey("k", "me")))
            assert (error.key, error.expected, error.holder) == ("k", "me", None)
            await log.append(write(ONE, TakeKey("k", "me")))
            await log.append(write(ONE, NeedKey("k", "me")))
            error = await refused(KeyNotHeld, log, write(ONE, NeedKey("k", "you")))
            assert (error.expected, error.holder) == ("you", "me")

    @behaviour()
    async def test_keys_are_listed_by_the_letters_they_start_with(self, site: Site) -> None:
        names = ["a%b", "a_b", "aXb", "A_b", "a\\b", "b"]
        async with site.open() as log:
            await log.append(write(ONE, *[TakeKey(name, "me") for name in names]))
            listed = {
                prefix: await log.backend.keys(TENANT, prefix) for prefix in ("a_", "a%", "a\\", "a", "")
            }
            found = {prefix: sorted(row[1] for row in rows) for prefix, rows in listed.items()}
            assert found == {
                "a_": ["a_b"],
                "a%": ["a%b"],
                "a\\": ["a\\b"],
                "a": sorted(name for name in names if name.startswith("a")),
                "": sorted(names),
            }
            assert len(await log.backend.keys(TENANT, "a", 2)) == 2


class RowsContract:
    @behaviour()
    async def test_a_due_row_is_set_moved_and_cleared_once(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, SetDue("d", LATE, b"\x00first")))
            assert await log.backend.due(TENANT) == []
            await log.append(write(ONE, SetDue("d", EARLY, b"second")))
            rows = [DueRow(*row) for row in await log.backend.due(TENANT)]
            assert rows == [DueRow(TENANT, "d", to_us(EARLY), b"second")]
            await log.append(write(ONE, ClearDue("d")))
            error = await refused(RowGone, log, write(ONE, ClearDue("d")))
            assert (error.kind, error.key) == ("due", "d")
            await log.append(write(ONE, ClearDue("d", missing_ok=True)))
            assert await log.backend.due(TENANT, by_now=False) == []

    @behaviour()
    async def test_due_rows_come_in_the_order_of_their_times(self, site: Site) -> None:
        async with site.open() as log:
            moments = {"a": 30, "b": 10, "c": 20, "d": 10}
            rows = [SetDue(key, EARLY + timedelta(microseconds=us)) for key, us in moments.items()]
            await log.append(write(ONE, *rows, SetDue("z", LATE)))
            assert [row[1] for row in await log.backend.due(TENANT)] == ["b", "d", "c", "a"]
            assert [row[1] for row in await log.backend.due(None, 2)] == ["b", "d"]
            assert [row[1] for row in await log.backend.due(TENANT, by_now=False)] == [
                "b",
                "d",
                "c",
                "a",
                "z",
            ]

    @behaviour()
    async def test_a_ready_row_is_put_replaced_and_cleared_once(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, PutReady("q", "r", b"\x00first", priority=3, at=EARLY)))
            await log.append(write(ONE, PutReady("q", "r", b"second", priority=-1, at=LATE)))
            rows = [ReadyRow(*row) for row in await log.backend.ready(TENANT, "q")]
            assert rows == [ReadyRow(TENANT, "q", "r", -1, to_us(LATE), b"second", None, 0)]
            await log.append(write(ONE, ClearReady("q", "r")))
            error = await refused(RowGone, log, write(ONE, ClearReady("q", "r")))
            assert (error.kind, error.key) == ("ready", "q/r")
            await log.append(write(ONE, ClearReady("q", "r", missing_ok=True)))
            assert await log.backend.ready(TENANT, "q") == []

    @behaviour()
    async def test_ready_rows_come_by_priority_then_time_each_queue_by_itself(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(
                write(
                    ONE,
                    PutReady("q", "low", priority=9, at=EARLY),
                    PutReady("q", "second", at=LATE),
                    PutReady("q", "first", at=EARLY),
                    PutReady("other", "first"),
                    PutReady("q", "urgent", priority=-5, at=LATE),
                )
            )
            assert [row[2] for row in await log.backend.ready(TENANT, "q")] == [
                "urgent",
                "first",
                "second",
                "low",
            ]
            assert [row[2] for row in await log.backend.ready(None, "q", 1)] == ["urgent"]
            assert [row[2] for row in await log.backend.ready(TENANT, "other")] == ["first"]

    @behaviour()
    async def test_a_ready_row_without_a_time_is_ready_when_it_is_written(self, site: Site) -> None:
        async with site.open() as log:
            before = await log.backend.now_us()
            await log.append(write(ONE, PutReady("q", "r")))
            [row] = [ReadyRow(*row) for row in await log.backend.ready(TENANT, "q")]
            assert before <= row.at <= await log.backend.now_us()


class FencesContract:
    @behaviour()
    async def test_a_claim_raises_the_epoch_and_names_the_holder(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f"), OpenFence("g")))
            assert await fence(log, "f") == fenced("f", 0, None, 0, 0)
            claimed = await log.backend.claim(TENANT, ["g", "nowhere", "f"], "worker-1")
            assert sorted((c.key, c.epoch, c.wakes) for c in claimed) == [("f", 1, 0), ("g", 1, 0)]
            assert await fence(log, "f") == fenced("f", 1, "worker-1", 0, 0)
            [again] = await log.backend.claim(TENANT, ["f"], "worker-2")
            assert (again.key, again.epoch) == ("f", 2)
            assert await log.backend.claim(TENANT, ["nowhere"], "worker-1") == []

    @behaviour()
    async def test_opening_an_open_fence_changes_nothing(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f")))
            await log.backend.claim(TENANT, ["f"], "worker")
            await log.append(write(ONE, OpenFence("f")))
            assert await fence(log, "f") == fenced("f", 1, "worker", 0, 0)

    @behaviour()
    async def test_a_closed_fence_is_gone(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f")))
            await log.append(write(ONE, CloseFence("f")))
            assert await fence(log, "f") is None
            await log.append(write(ONE, CloseFence("f"), Wake("f")))
            error = await refused(FenceLost, log, write(ONE, Fence("f", 0)))
            assert (error.expected, error.actual) == (0, None)
            assert await log.backend.claim(TENANT, ["f"], "worker") == []

    @behaviour()
    async def test_a_release_holds_only_if_nothing_came_in(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f")))
            [first] = await log.backend.claim(TENANT, ["f"], "worker")
            await log.append(write(TWO, Wake("f")))
            assert await log.backend.release([Release(TENANT, "f", first.epoch, first.wakes)]) == [False]
            assert await fence(log, "f") == fenced("f", 1, "worker", 1, 0)
            assert await log.backend.release([Release(TENANT, "f", first.epoch - 1, 1)]) == [False]
            assert await log.backend.release([Release(TENANT, "f", first.epoch, 1)]) == [True]
            assert await fence(log, "f") == fenced("f", 1, None, 1, 1)
            [second] = await log.backend.claim(TENANT, ["f"], "other")
            assert (second.epoch, second.wakes) == (2, 1)
            assert await log.backend.release([Release(TENANT, "f", first.epoch, 1)]) == [False]
            assert await log.backend.release([Release(TENANT, "nowhere", 0, 0)]) == [False]

    @behaviour()
    async def test_many_are_let_go_at_once_but_for_those_that_something_came_for(self, site: Site) -> None:
        async with site.open() as log:
            keys = [f"f{n}" for n in range(6)]
            await log.append(write(ONE, *[OpenFence(key) for key in keys]))
            for key in keys:
                await log.backend.claim(TENANT, [key], "worker")
            await log.backend.claim(TENANT, ["f1"], "other")
            await log.append(write(TWO, Wake("f4")))
            asked = [Release(TENANT, key, 1, 0) for key in reversed(keys)] + [Release("theirs", "f0", 1, 0)]
            assert await log.backend.release(asked) == [True, False, True, True, False, True, False]
            held = {row.key: row.holder for row in await log.backend.fences(TENANT, keys)}
            assert held == {**dict.fromkeys(keys), "f1": "other", "f4": "worker"}

    @behaviour()
    async def test_side_rows_of_a_call_take_effect_in_their_order(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, OpenFence("f"), Wake("f")))
            assert (await fence(log, "f") or ())[4:6] == (1, 0)
            await log.append(write(ONE, Wake("f"), Wake("f")), write(TWO, Wake("f")))
            assert (await fence(log, "f") or ())[4:6] == (4, 0)
            await log.append(write(ONE, Wake("g"), OpenFence("g")))
            assert (await fence(log, "g") or ())[4:6] == (0, 0)
            await log.append(write(ONE, Fence("f", 0), Wake("f"), CloseFence("f")))
            assert await fence(log, "f") is None
            await log.append(write(ONE, OpenFence("h"), CloseFence("h")))
            assert await fence(log, "h") is None

    @behaviour()
    async def test_guards_see_what_was_there_before_their_own_call(self, site: Site) -> None:
        async with site.open() as log:
            error = await refused(FenceLost, log, write(ONE, OpenFence("f"), Fence("f", 0)))
            assert error.actual is None
            await log.append(write(ONE, OpenFence("f")))
            await log.append(write(ONE, CloseFence("f")), write(TWO, Fence("f", 0)))
            assert await fence(log, "f") is None

    @behaviour()
    async def test_many_side_rows_in_one_call(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(
                write(ONE, OpenFence("f"), OpenFence("g"), SetDue("old", EARLY), TakeKey("old", "me"))
            )
            await log.append(
                write(ONE, Fence("f", 0), Fence("g", 0), TakeKey("k1", "me"), TakeKey("k2", "me"), Wake("g")),
                write(
                    TWO,
                    SetDue("d", LATE, b"d"),
                    PutReady("q", "r", b"r"),
                    PutEntry("papers", "p", "paper", "open", b"p"),
                    ClearDue("old"),
                    GiveKey("old", "me"),
                ),
            )
            assert await side_rows(log) == {
                "keys": [(TENANT, "k1", "me"), (TENANT, "k2", "me")],
                "fences": [fenced("f"), fenced("g", wakes=1)],
                "due": [(TENANT, "d", to_us(LATE), b"d")],
                "ready": [(TENANT, "q", "r", 0, b"r", None, 0)],
                "entries": [(TENANT, "papers", "p", "paper", "open", b"p")],
            }

    @behaviour()
    async def test_side_rows_of_other_tenants_are_others(self, site: Site) -> None:
        theirs = Stream("paper", "one", "theirs")
        rows: list[SideRow] = [
            *(TakeKey("k", "me"), OpenFence("f"), SetDue("d", EARLY), PutReady("q", "r")),
            PutEntry("papers", "p", "paper", "open"),
        ]
        async with site.open() as log:
            await log.append(Write(ONE, write().events, rows=rows))
            ours = await side_rows(log)
            await log.append(write(theirs, *rows, Wake("f")))
            await log.append(
                write(theirs, ClearDue("d"), ClearReady("q", "r"), GiveKey("k", "me"), CloseFence("f"))
            )
            await log.backend.claim("theirs", ["f"], "worker")
            assert await side_rows(log) == ours
            left = await side_rows(log, "theirs")
            assert left.pop("entries")
            assert not any(left.values())

    @behaviour()
    async def test_a_refused_call_leaves_nothing(self, site: Site) -> None:
        effects: list[SideRow] = [
            *(TakeKey("new", "me"), GiveKey("mine", "me"), OpenFence("h"), Wake("f"), CloseFence("g")),
            *(
                SetDue("d", EARLY, b"moved"),
                SetDue("d2", LATE),
                ClearReady("q", "r"),
                PutReady("q", "r2", b"x"),
                WithdrawReady("q", "free"),
                PutEntry("papers", "p", "paper", "open"),
            ),
        ]
        reasons: list[tuple[type[HeadwaterError], Write]] = [
            (WrongVersion, write(TWO, expect=9)),
            (KeyTaken, write(TWO, TakeKey("theirs", "me"))),
            (KeyNotHeld, write(TWO, NeedKey("theirs", "me"))),
            (KeyNotHeld, write(TWO, GiveKey("theirs", "me"))),
            (FenceLost, write(TWO, Fence("f", 7))),
            (RowGone, write(TWO, ClearDue("nowhere"))),
            (RowGone, write(TWO, ClearReady("q", "nowhere"))),
            (RowGone, write(TWO, ClearReady("q", "other", claim=7))),
            (RowGone, write(TWO, PutReady("q", "other", claim=7))),
            (FenceLost, write(TWO, Wake("nowhere", needed=True))),
        ]
        async with site.open() as log:
            rows: list[SideRow] = [
                TakeKey("mine", "me"),
                TakeKey("theirs", "they"),
                OpenFence("f"),
                OpenFence("g"),
            ]
            rows += [SetDue("d", LATE), *(PutReady("q", key) for key in ("r", "free", "other"))]
            await log.append(write(ONE, *rows))
            before = await side_rows(log)
            for kind, wrong in reasons:
                await refused(kind, log, write(ONE, *effects, events=2), wrong)
                await refused(kind, log, Write(TWO), wrong, write(ONE, *effects))
                assert await side_rows(log) == before
            await log.append(write(ONE, *effects))
            assert await side_rows(log) != before

"""The reference rules, call by call: first ids, then guards in their order, then versions; only then any effect."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from headwater.errors import (
    EventIdReused,
    FenceLost,
    HeadwaterError,
    KeyNotHeld,
    KeyTaken,
    MixedIds,
    RowGone,
    WrongVersion,
)
from headwater.events.digest import GENESIS, link
from headwater.events.envelope import EventRow, Stream
from headwater.log.port import Call, Outcome, Placed, PreparedWrite
from headwater.log.rules import Judgement, Known, Tail, judge
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
    Trust,
    Wake,
    WithdrawReady,
)

ONE, TWO = Stream("paper", "one"), Stream("paper", "two")
DIGEST = bytes(range(32))
START = Tail(10, b"\x07" * 32, 5_000)


@dataclass
class Seen:
    """A log that is what a test says."""

    versions: dict[Stream, int] = field(default_factory=dict[Stream, int])
    ids: dict[UUID, Known] = field(default_factory=dict[UUID, Known])
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    holders: dict[str, str] = field(default_factory=dict[str, str])
    due: set[str] = field(default_factory=set[str])
    ready: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def known(self, tenant: str, ids: Iterable[UUID]) -> Mapping[UUID, Known]:
        return {id: self.ids[id] for id in ids if id in self.ids}

    def version(self, stream: Stream) -> int:
        return self.versions.get(stream, 0)

    def epoch(self, tenant: str, key: str) -> int | None:
        return self.epochs.get(key)

    def holder(self, tenant: str, key: str) -> str | None:
        return self.holders.get(key)

    def is_due(self, tenant: str, key: str) -> bool:
        return key in self.due

    def claim_of(self, tenant: str, queue: str, key: str) -> int | None:
        return self.ready.get((queue, key))


def row(number: int, digest: bytes = DIGEST) -> EventRow:
    envelope: tuple[Any, ...] = (None,) * 5
    return EventRow(UUID(int=number), "counted", 1, 2, 0, *envelope, "json", b"1", None, None, digest)


def write(
    stream: Stream, *ids: int, expect: int = -1, skip: bool = False, side: tuple[SideRow, ...] = ()
) -> PreparedWrite:
    return PreparedWrite(stream, tuple(row(id) for id in ids), expect, skip, side)


def run(view: Seen, *calls: tuple[PreparedWrite, ...], now: int = 9_000) -> Judgement:
    return judge([Call("default", writes) for writes in calls], view, START, now)


def outcome(view: Seen, *writes: PreparedWrite) -> Outcome:
    judgement = run(view, writes)
    [only] = judgement.outcomes
    if isinstance(only, HeadwaterError):
        assert (judgement.rows, judgement.side, judgement.tail[:2]) == ([], [], START[:2])
    return only


def test_positions_follow_the_tail_and_the_chain_leads_through_them() -> None:
    judgement = run(Seen({ONE: 3}), (write(ONE, 1, 2), write(TWO, 3)), (write(ONE, 4),))
    assert [(r.position, r.stream_id, r.version) for r in judgement.rows] == [
        (11, "one", 4),
        (12, "one", 5),
        (13, "two", 1),
        (14, "one", 6),
    ]
    chain = START.chain
    for stored in judgement.rows:
        chain = link(chain, stored.position, stored.version, 9_000, DIGEST)
        assert (stored.chain, stored.recorded_at) == (chain, 9_000)
    assert judgement.tail == Tail(14, chain, 9_000)
    assert judgement.outcomes == [
        Placed([11, 12, 13], [4, 5, 1], [False] * 3, 9_000),
        Placed([14], [6], [False], 9_000),
    ]


def test_recorded_time_never_goes_back() -> None:
    assert run(Seen(), (write(ONE, 1),), now=1).rows[0].recorded_at == START.recorded_at
    assert judge([], Seen(), Tail(0, GENESIS, 0), 5).tail == Tail(0, GENESIS, 5)


def test_a_refused_call_uses_no_position_and_the_next_sees_nothing_of_it() -> None:
    judgement = run(Seen(), (write(ONE, 1), write(TWO, 2, expect=7)), (write(ONE, 3, expect=0),))
    refused, placed = judgement.outcomes
    assert isinstance(refused, WrongVersion)
    assert placed == Placed([11], [1], [False], 9_000)
    assert [stored.event_id for stored in judgement.rows] == [UUID(int=3)]


def test_each_call_is_judged_against_what_the_earlier_ones_left() -> None:
    judgement = run(
        Seen(), (write(ONE, 1, expect=0),), (write(ONE, 2, expect=0),), (write(ONE, 3, expect=1),)
    )
    assert [type(outcome) for outcome in judgement.outcomes] == [Placed, WrongVersion, Placed]


KNOWN = Seen({ONE: 2}, {UUID(int=1): Known(4, 1, ONE, DIGEST), UUID(int=2): Known(6, 2, ONE, DIGEST)})


def test_known_events_keep_their_places_whatever_is_expected_or_guarded() -> None:
    side = (TakeKey("k", "me"), Fence("f", 9))
    judgement = run(KNOWN, (write(ONE, 1, 2, expect=0, side=side),))
    assert judgement.outcomes == [Placed([4, 6], [1, 2], [True, True])]
    assert (judgement.rows, judgement.side, judgement.tail[:2]) == ([], [], START[:2])


def test_an_id_with_another_stream_or_digest_is_reused() -> None:
    other = PreparedWrite(ONE, (row(2, bytes(32)),), -1, False, ())
    for wrong in ((write(TWO, 2),), (other,), (write(ONE, 9), write(TWO, 2, skip=True))):
        error = outcome(KNOWN, *wrong)
        assert isinstance(error, EventIdReused)
        assert (error.event_id, error.position) == (UUID(int=2), 6)


def test_mixed_ids_are_refused_unless_each_write_that_has_known_ones_skips() -> None:
    error = outcome(KNOWN, write(ONE, 1, 2, 3))
    assert isinstance(error, MixedIds)
    assert (error.known, error.new) == (2, 1)
    assert isinstance(outcome(KNOWN, write(ONE, 1), write(TWO, 3, skip=True)), MixedIds)
    assert outcome(KNOWN, write(ONE, 1, skip=True), write(TWO, 3)) == Placed(
        [4, 11], [1, 1], [True, False], 9_000
    )
    assert outcome(KNOWN, write(ONE, 1, 3, 2, 4, skip=True, expect=2)) == Placed(
        [4, 11, 6, 12], [1, 3, 2, 4], [True, False, True, False], 9_000
    )


def test_expectations_count_new_events_only() -> None:
    assert isinstance(outcome(KNOWN, write(ONE, 1, skip=True, expect=0), write(TWO, 3)), Placed)
    error = outcome(KNOWN, write(ONE, 1, 3, skip=True, expect=0))
    assert isinstance(error, WrongVersion)
    assert error.actual == 2
    assert isinstance(outcome(KNOWN, write(ONE, 1, 3, skip=True), write(ONE, 4, expect=3)), Placed)
    assert isinstance(outcome(KNOWN, write(ONE, expect=1), write(TWO, 3)), WrongVersion)
    assert isinstance(outcome(KNOWN, write(ONE, expect=2), write(TWO, 3)), Placed)


GUARDED = Seen(epochs={"f": 3}, holders={"k": "me"}, due={"d"}, ready={("q", "r"): 2})


@pytest.mark.parametrize(
    ("side", "facts"),
    [
        (Fence("f", 2), {"key": "f", "expected": 2, "actual": 3}),
        (Fence("gone", 0), {"key": "gone", "expected": 0, "actual": None}),
        (TakeKey("k", "you"), {"key": "k", "holder": "me"}),
        (NeedKey("k", "you"), {"key": "k", "expected": "you", "holder": "me"}),
        (GiveKey("free", "me"), {"key": "free", "expected": "me", "holder": None}),
        (ClearDue("gone"), {"kind": "due", "key": "gone"}),
        (ClearReady("q", "gone"), {"kind": "ready", "key": "q/gone"}),
        (ClearReady("q", "r", claim=1), {"kind": "ready", "key": "q/r"}),
        (PutReady("q", "r", claim=3), {"kind": "ready", "key": "q/r"}),
        (PutReady("q", "gone", claim=0), {"kind": "ready", "key": "q/gone"}),
        (Wake("gone", needed=True), {"key": "gone", "expected": None, "actual": None}),
    ],
    ids=repr,
)
def test_a_guard_that_fails_says_what_is_there(side: SideRow, facts: dict[str, Any]) -> None:
    error = outcome(GUARDED, write(ONE, 1), write(TWO, 2, side=(SetDue("x", datetime.now(UTC)), side)))
    assert isinstance(error, FenceLost | KeyTaken | KeyNotHeld | RowGone)
    assert {name: getattr(error, name) for name in facts} == facts


@pytest.mark.parametrize(
    "side",
    [
        *(Fence("f", 3), TakeKey("free", "me"), NeedKey("k", "me"), GiveKey("k", "me"), ClearDue("d")),
        *(ClearReady("q", "r"), GiveKey("k", "you", missing_ok=True), ClearDue("gone", missing_ok=True)),
        *(ClearReady("q", "gone", missing_ok=True), ClearReady("q", "r", missing_ok=True, claim=1)),
        *(ClearReady("q", "r", claim=2), PutReady("q", "r", claim=2), PutReady("q", "gone")),
        *(Wake("f", needed=True), Wake("gone"), WithdrawReady("q", "gone"), OpenFence("f", holder="me")),
        *(Trust("gone"), CloseFence("gone"), PutEntry("papers", "p", "paper", "open")),
    ],
    ids=repr,
)
def test_a_guard_that_holds_lets_its_call_take_effect(side: SideRow) -> None:
    judgement = run(GUARDED, (write(ONE, 1, side=(side,)),))
    assert isinstance(judgement.outcomes[0], Placed)
    assert judgement.side == [("default", side)]


def test_guards_are_judged_before_versions_and_in_their_order() -> None:
    two = (TakeKey("k", "you"), Fence("f", 1))
    assert isinstance(outcome(GUARDED, write(ONE, 1, expect=9, side=two)), KeyTaken)
    assert isinstance(outcome(GUARDED, write(ONE, 1, expect=9, side=two[::-1])), FenceLost)
    assert isinstance(outcome(GUARDED, write(ONE, 1, expect=9), write(TWO, 2, side=two)), KeyTaken)

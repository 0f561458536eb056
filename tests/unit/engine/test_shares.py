from __future__ import annotations

from collections import Counter

import pytest

from headwater.engine.shares import Share, next_share


def runs(**held: int) -> list[tuple[str, str]]:
    return [(tenant, str(n)) for tenant, count in held.items() for n in range(count)]


@pytest.mark.parametrize(
    ("held", "share"),
    [
        ({}, Share(900)),
        ({"a": 899}, Share(1)),
        ({"a": 900}, Share(50, ("a",), kept=True)),
        ({"a": 450, "b": 449, "c": 1}, Share(50, ("a", "b"), kept=True)),
        ({"a": 900, "b": 50}, Share(25, ("a", "b"), kept=True)),
        ({"a": 900, "b": 49}, Share(1, ("a",), kept=True)),
        ({"a": 999}, Share(1, ("a",), kept=True)),
        ({"a": 998, "b": 1}, Share(1, ("a", "b"), kept=True)),
        ({"a": 1000}, Share(0, ("a",), kept=True)),
        ({"a": 1200}, Share(0, ("a",), kept=True)),
    ],
)
def test_the_last_tenth_goes_to_those_that_hold_less_than_is_free(held: dict[str, int], share: Share) -> None:
    assert next_share(1000, runs(**held)) == share


def test_what_is_coming_has_its_places() -> None:
    assert next_share(100, runs(a=50), coming=39) == Share(1)
    assert next_share(100, runs(a=50), coming=40) == Share(5, ("a",), kept=True)


def test_a_worker_of_few_places_keeps_none() -> None:
    assert next_share(9, runs(a=8)) == Share(1)
    assert next_share(9, runs(a=9)) == Share(0, ("a",), kept=True)
    assert next_share(0, []) == Share(0, kept=True)


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_six_tenants_that_fill_the_reserve_leave_a_place_to_the_seventh(at_once: int) -> None:
    held = Counter(a=900)
    for tenant in "bcdefgh":
        assert tenant not in next_share(1000, runs(**held)).without
        while tenant not in (share := next_share(1000, runs(**held))).without and share.most > 0:
            assert {*held} - {tenant} <= {*share.without}
            held[tenant] += min(share.most, at_once)
        assert held[tenant] > 0
    assert held.total() == 1000

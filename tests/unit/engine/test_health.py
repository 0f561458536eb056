from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from headwater.engine.health import SLOW, health
from headwater.engine.options import EngineOptions


@dataclass
class Worked:
    """What a worker says of its loops."""

    progress: Mapping[str, float]
    failing: Mapping[str, str] = field(default_factory=dict[str, str])
    options: EngineOptions = field(default_factory=EngineOptions)


def test_a_worker_whose_loops_go_round_is_well() -> None:
    found = health(Worked({"dispatch": 99.0, "heartbeat": 99.5}), 100.0)
    assert found.ok
    assert found.loops == {"dispatch": 1.0, "heartbeat": 0.5}
    assert not found.stuck


def test_one_loop_that_does_not_go_round_is_enough_to_be_unwell() -> None:
    found = health(Worked({"dispatch": 90.0, "heartbeat": 99.5}, {"dispatch": "no answer"}), 100.0)
    assert (found.ok, found.stuck, found.failing) == (False, ("dispatch",), {"dispatch": "no answer"})


@pytest.mark.parametrize(("since", "well"), [(1.0 + SLOW, True), (1.1 + SLOW, False)])
def test_a_round_may_take_so_long_and_no_longer(since: float, well: bool) -> None:
    assert health(Worked({"fetch": 100.0 - since}), 100.0).ok is well


def test_who_looks_seldom_has_longer_rounds() -> None:
    rare = EngineOptions(poll=20.0)
    assert health(Worked({"dispatch": 80.0}, options=rare), 100.0).ok
    assert not health(Worked({"dispatch": 74.0}, options=rare), 100.0).ok


def test_a_worker_that_has_not_begun_or_has_stopped_is_not_well() -> None:
    assert not health(Worked({}), 100.0).ok

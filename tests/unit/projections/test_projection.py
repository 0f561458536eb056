"""A projection by itself: no database."""

import pytest

from headwater.errors import DeclarationRefused, StateUnreadable
from headwater.projections.projection import Projection
from tests.integration.projections.shop import BY_STREAM, Paid, Refunded, Spent, spent


def test_a_fold_is_tested_with_a_list() -> None:
    events = [Paid(customer="ann", cents=5), Refunded(customer="ann", cents=2)]
    assert BY_STREAM.folded(events) == Spent(cents=3, events=2)


def test_a_state_comes_back_from_its_bytes() -> None:
    state = Spent(cents=3, events=2)
    assert BY_STREAM.decode(BY_STREAM.encode(state)) == state


@pytest.mark.parametrize("data", [b"", b"null", b'{"cents": "many"}', b"{"])
def test_bytes_that_do_not_fit_are_an_error_and_no_empty_start(data: bytes) -> None:
    with pytest.raises(StateUnreadable):
        BY_STREAM.decode(data)


def test_a_projection_names_its_events() -> None:
    with pytest.raises(DeclarationRefused, match="names no events"):
        Projection("spent", state=Spent, initial=Spent(), fold=spent, events=())

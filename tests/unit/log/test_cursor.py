"""Cursor tokens: what a reader keeps, and what it may not make up."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import CursorRefused
from headwater.log.cursor import Cursor
from headwater.log.port import Place

places = st.dictionaries(
    st.integers(0, 65535),
    st.builds(Place, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32)),
    max_size=4,
)


@given(st.uuids(), places)
def test_a_token_brings_the_cursor_back(incarnation: UUID, places: dict[int, Place]) -> None:
    cursor = Cursor(incarnation, places)
    assert Cursor.parse(str(cursor)) == cursor


def test_tokens_never_change() -> None:
    """They are in other people's checkpoints."""
    cursor = Cursor(UUID(int=7), {1: Place(2, bytes(range(32))), 0: Place(1000, bytes(32))})
    assert str(cursor) == (
        "hw1.AAAAAAAAAAAAAAAAAAAABwAAAAAAAAAAA-gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAABAAAAAAAAAAIAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw"
    )
    assert cursor.position == 1000
    assert Cursor(UUID(int=7), {}).position == 0


@pytest.mark.parametrize(
    "token",
    [
        *("", "hw1.", "hw2.AAAA", "AAAAAAAAAAAAAAAAAAAAAA", "hw1.AAAA", "hw1.\u00e9", "hw1.A" * 50),
        *("hw1." + "A" * 23, str(Cursor(UUID(int=7), {0: Place(1, bytes(32))}))[:-4]),
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(CursorRefused, match="not a cursor"):
        Cursor.parse(token)

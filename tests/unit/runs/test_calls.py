"""The mapping of calls: immutable, and as cheap to change late in a history as early."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headwater.runs.calls import Calls


@given(st.lists(st.tuples(st.integers(0, 500), st.integers())))
def test_it_holds_what_a_dict_holds(puts: list[tuple[int, int]]) -> None:
    calls: Calls[int] = Calls()
    plain: dict[int, int] = {}
    for call, value in puts:
        before, copy = calls, dict(calls)
        calls = calls.put(call, value)
        plain[call] = value
        assert dict(before) == copy
    assert calls == plain
    assert len(calls) == len(plain)
    assert calls.get(501) is None
    assert calls == Calls(plain)


def test_it_comes_back_from_a_snapshot() -> None:
    adapter = TypeAdapter(Calls[int])
    calls = Calls({1: 10, 64: 20, 1000: 30})
    assert adapter.validate_json(adapter.dump_json(calls)) == calls


def test_one_more_call_copies_one_chunk_and_no_other() -> None:
    calls = Calls({call: call for call in range(1000)})
    after = calls.put(5, -1)
    kept = [chunk for at, chunk in calls._chunks.items() if after._chunks[at] is chunk]
    assert len(kept) == len(calls._chunks) - 1

"""Ids: in order for one maker, whatever the clock does; derived ones the same for ever."""

from uuid import UUID

from headwater.events.clock import ManualClock
from headwater.events.envelope import Stream
from headwater.events.ids import TimeOrderedIds, derived_id


class Counting:
    """Bytes in place of chance."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return bytes([self.calls] * size)


def moved(clock: ManualClock, by_ms: int) -> None:
    clock._now += by_ms * 1000


def test_ids_of_one_millisecond_are_in_order() -> None:
    ids = TimeOrderedIds(ManualClock())
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000


def test_an_id_carries_its_version_variant_and_millisecond() -> None:
    id = TimeOrderedIds(ManualClock(1_700_000_000_123_456)).new()
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    assert id.int >> 80 == 1_700_000_000_123


def test_a_full_millisecond_borrows_from_the_next() -> None:
    clock = ManualClock(1_700_000_000_000_000)
    ids = TimeOrderedIds(clock)
    made = [ids.new() for _ in range(4097)]
    assert [made[0].int >> 80, made[4095].int >> 80, made[4096].int >> 80] == [
        1_700_000_000_000,
        1_700_000_000_000,
        1_700_000_000_001,
    ]
    moved(clock, 1)
    assert ids.new() > made[-1]


def test_a_clock_that_goes_back_does_not_take_ids_back() -> None:
    clock = ManualClock()
    ids = TimeOrderedIds(clock)
    made = []
    for step in (0, -1000, 5, -3_600_000, 1, 10_000_000):
        moved(clock, step)
        made += [ids.new(), ids.new()]
    assert made == sorted(made)


def test_randomness_is_a_parameter_and_fills_the_rest() -> None:
    chance = Counting()
    one, two = (TimeOrderedIds(ManualClock(), chance).new() for _ in range(2))
    assert one.int & (2**62 - 1) == int.from_bytes(bytes([1] * 8), "big") >> 2
    assert one != two
    ids = TimeOrderedIds(ManualClock(), chance := Counting())
    for _ in range(128):
        ids.new()
    assert chance.calls == 1, "chance is drawn in lots"


def test_derived_ids_never_change() -> None:
    """They are in logs: an id that came out differently would write an event a second time."""
    stream = Stream("order", "o-1", "shop")
    assert derived_id(stream, "place") == UUID("62ed0354-096c-504e-9721-23b456982212")
    assert derived_id(stream, "place", 1) == UUID("185b035b-f9ae-59fd-aa7d-bee737693482")
    assert derived_id(Stream("order", "\u00e9\U0001f409"), "k") == UUID(
        "18acb3f5-e073-5815-86b5-132bc72e460b"
    )


def test_derived_ids_do_not_run_together() -> None:
    made = {
        derived_id(stream, key, index)
        for stream in (Stream("a", "bc"), Stream("ab", "c"), Stream("a", "b", "c"), Stream("c", "b", "a"))
        for key in ("k", "k1", "1:k")
        for index in (0, 1, 10)
    }
    assert len(made) == 4 * 3 * 3

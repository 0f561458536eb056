"""The bytes that the chain is made of: they may never change, or no log verifies any more."""

from typing import Any
from uuid import UUID

import pytest

from headwater.events.digest import GENESIS, event_digest, link

FULL: dict[str, Any] = {
    "tenant": "shop",
    "stream_type": "order",
    "stream_id": "o-1\u00e9",
    "event_id": UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    "type": "order_placed",
    "schema_version": 2,
    "spec_version": 2,
    "occurred_at": 1_700_000_000_123_456,
    "run_id": "run-1",
    "correlation_id": "cause-1",
    "causation_id": "cause-2",
    "actor": "somebody",
    "traceparent": "00-1-2-01",
    "encoding": "json",
    "data": b'{"a":1}',
    "metadata": b'{"b":2}',
    "blob": None,
}
ABSENT = ("run_id", "correlation_id", "causation_id", "actor", "traceparent", "data", "metadata", "blob")


def digest(**changes: Any) -> bytes:
    return event_digest(**FULL | changes)


def test_the_digest_of_an_event_never_changes() -> None:
    assert digest().hex() == "4b4b76501da7e232891f10103035c5f26480345e79848bf3f11a266e6ab98b7a"
    assert (
        digest(**dict.fromkeys(ABSENT)).hex()
        == "eabef7c6a31db4bcf019fce8ba8bd07fd9b912872e6cf5edc08a9ed9a717e9da"
    )
    assert (
        digest(data=None, blob=bytes(range(32))).hex()
        == "bfe6937ad3772cb557a6a72af2e23e8b36655d42d869d29bcd8752503743bfca"
    )


def test_a_link_of_the_chain_never_changes() -> None:
    first = link(GENESIS, 1, 1, 1_700_000_000_123_456, digest())
    assert first.hex() == "dcf349166fff2b325006d5be9b00bf26a404854f3a42fdebce9629ca2604b37e"
    assert (
        link(first, 2, 1, 1_700_000_000_123_457, digest(type="order_paid")).hex()
        == "fe7387fe4db6de5aa2c1c3ecba9e9dcb8dd44ee1b7a61cc564c3b58acb014616"
    )


@pytest.mark.parametrize("name", [name for name in FULL if name != "blob"])
def test_every_field_counts(name: str) -> None:
    value = FULL[name]
    other = (
        value + 1 if isinstance(value, int) else UUID(int=5) if isinstance(value, UUID) else value + value[:1]
    )
    assert digest(**{name: other}) != digest()


@pytest.mark.parametrize("name", [name for name in ABSENT if name != "blob"])
def test_absent_is_not_empty(name: str) -> None:
    empty: Any = b"" if name in {"data", "metadata"} else ""
    assert digest(**{name: empty}) != digest(**{name: None})


def test_text_does_not_run_from_one_field_into_the_next() -> None:
    seen = {
        digest(tenant="ab", stream_type="c"),
        digest(tenant="a", stream_type="bc"),
        digest(run_id="ab", correlation_id="c"),
        digest(run_id="a", correlation_id="bc"),
        digest(run_id=None, correlation_id="abc"),
        digest(run_id="abc", correlation_id=None),
        digest(data=b"ab", metadata=b"c"),
        digest(data=b"a", metadata=b"bc"),
        digest(data=b"abc", metadata=None),
    }
    assert len(seen) == 9


def test_a_large_payload_enters_by_its_hash() -> None:
    hash = bytes(range(32))
    assert digest(data=None, blob=hash) == digest(data=b"whatever was read", blob=hash)
    assert digest(data=hash, blob=None) != digest(data=None, blob=hash)


def test_each_part_of_a_link_counts() -> None:
    base = (bytes(32), 1, 2, 3, bytes(32))
    changed = [(b"\x01" * 32, 2, 3, 4, b"\x01" * 32)[n] for n in range(5)]
    made = {link(*base)} | {link(*(*base[:n], changed[n], *base[n + 1 :])) for n in range(5)}  # type: ignore[arg-type]
    assert len(made) == 6

"""The codec chain: each encoding is named, and read by its name alone."""

import pytest

from headwater.errors import Undecodable
from headwater.events.codec import MAX_DECODED, Codec, Zstd


class Reversed:
    """A link of our own, as encryption will be."""

    name = "reversed"

    def applies(self, data: bytes) -> bool:
        return True

    def encode(self, data: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]


def test_small_payloads_stay_plain() -> None:
    assert Codec().encode(b"x" * 1024, b"meta") == ("json", b"x" * 1024, b"meta")
    assert Codec().decode("json", b"abc") == b"abc"


def test_large_payloads_are_compressed_with_their_metadata() -> None:
    encoding, data, metadata = Codec().encode(b"x" * 5000, b"meta")
    assert encoding == "json+zstd"
    assert len(data) < 100
    assert metadata is not None
    assert (Codec().decode(encoding, data), Codec().decode(encoding, metadata)) == (b"x" * 5000, b"meta")
    assert Codec().encode(b"x" * 5000, None)[2] is None


def test_links_go_on_in_order_and_come_off_in_reverse() -> None:
    codec = Codec([Zstd(threshold=10), Reversed()])
    assert codec.encode(b"abc", None) == ("json+reversed", b"cba", None)
    encoding, data, _ = codec.encode(b"x" * 100, None)
    assert encoding == "json+zstd+reversed"
    assert codec.decode(encoding, data) == b"x" * 100
    assert Zstd().decode(data[::-1]) == b"x" * 100


@pytest.mark.parametrize("encoding", ["pickle", "", "json+rot13", "json+zstd+rot13", "zstd", "JSON", "json+"])
def test_an_unknown_encoding_is_an_error_and_never_a_guess(encoding: str) -> None:
    with pytest.raises(Undecodable):
        Codec().decode(encoding, Zstd().encode(b"abc"))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", Zstd().encode(b"x" * 5000)[:-3]], ids=["nothing", "other", "cut"]
)
def test_bytes_that_do_not_decode_are_an_error(data: bytes) -> None:
    with pytest.raises(Undecodable):
        Codec().decode("json+zstd", data)


def test_a_payload_that_would_unfold_without_bound_is_refused() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(MAX_DECODED + 1))
    assert len(bomb) < 10_000
    with pytest.raises(Undecodable):
        Codec().decode("json+zstd", bomb)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"x")
    with pytest.raises(Undecodable):
        Codec().decode("json+zstd", unsized)

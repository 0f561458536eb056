"""The codec chain: canonical JSON through what makes it smaller (and, later, secret).

An event's `encoding` names the links its bytes went through, in order, such as `json+zstd`. Reading follows the
name and knows no fallback: bytes that do not decode are an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import zstandard

from headwater.errors import Undecodable

PLAIN = "json"
MAX_DECODED = 64 * 1024 * 1024


class Link(Protocol):
    """One step of the chain. `applies` sees the payload as it would be stored without this link."""

    name: str

    def applies(self, data: bytes) -> bool: ...
    def encode(self, data: bytes) -> bytes: ...
    def decode(self, data: bytes) -> bytes: ...


class Zstd:
    """Compress payloads above a threshold."""

    name = "zstd"

    def __init__(self, threshold: int = 1024, level: int = 3) -> None:
        self._threshold = threshold
        self._level = level

    def applies(self, data: bytes) -> bool:
        return len(data) > self._threshold

    def encode(self, data: bytes) -> bytes:
        return zstandard.ZstdCompressor(level=self._level).compress(data)

    def decode(self, data: bytes) -> bytes:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_DECODED:
            raise Undecodable(f"A compressed payload claims {size} bytes; at most {MAX_DECODED} are allowed.")
        return zstandard.ZstdDecompressor().decompress(data)


class Codec:
    """The chain in use; it reads everything that its links have written."""

    def __init__(self, links: Sequence[Link] | None = None) -> None:
        self._links = (Zstd(),) if links is None else tuple(links)
        self._by_name = {link.name: link for link in self._links}

    def encode(self, data: bytes, metadata: bytes | None) -> tuple[str, bytes, bytes | None]:
        """The encoding's name, and payload and metadata through the same links."""
        encoding = PLAIN
        for link in self._links:
            if link.applies(data):
                encoding = f"{encoding}+{link.name}"
                data = link.encode(data)
                metadata = metadata and link.encode(metadata)
        return encoding, data, metadata

    def decode(self, encoding: str, data: bytes) -> bytes:
        if encoding == PLAIN:
            return data
        base, *names = encoding.split("+")
        if base != PLAIN:
            raise Undecodable(f"Payload encoding {encoding!r} is unknown to this code.")
        for name in reversed(names):
            link = self._by_name.get(name)
            if link is None:
                raise Undecodable(f"Payload encoding {encoding!r} needs {name!r}, which is not set up here.")
            try:
                data = link.decode(data)
            except zstandard.ZstdError as error:
                raise Undecodable(f"A payload encoded as {encoding!r} does not decode: {error}.") from error
        return data

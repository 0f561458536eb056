"""Cursors: where a reader is, and proof that it is there in this log.

A cursor holds the log's incarnation and, for each shard, a position with the chain's value there. A cursor of
another log, or one taken before the log was restored from a backup and written on, names a chain value that this log
does not have at that position, and is refused: going on from it would skip or repeat events without a sound.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from uuid import UUID

from headwater.errors import CursorRefused
from headwater.log.port import DEFAULT_SHARD, Backend, Place

_MARK = "hw1."
_PLACE = Struct(">Hq32s")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in every shard of one log. `str()` gives a token; `Cursor.parse` takes it back."""

    incarnation: UUID
    places: Mapping[int, Place]

    @property
    def position(self) -> int:
        """The position in the default shard."""
        place = self.places.get(DEFAULT_SHARD)
        return place.position if place else 0

    def __str__(self) -> str:
        packed = b"".join(_PLACE.pack(shard, *place) for shard, place in sorted(self.places.items()))
        return _MARK + urlsafe_b64encode(self.incarnation.bytes + packed).decode().rstrip("=")

    @classmethod
    def parse(cls, token: str) -> Cursor:
        body = token.removeprefix(_MARK)
        try:
            packed = urlsafe_b64decode(body + "=" * (-len(body) % 4))
            if body == token or len(packed) < 16 or (len(packed) - 16) % _PLACE.size:
                raise ValueError
        except (ValueError, binascii.Error):
            raise CursorRefused(
                f"{token[:40]!r} is not a cursor. Use one that the log gave, as it was."
            ) from None
        places = {shard: Place(position, chain) for shard, position, chain in _PLACE.iter_unpack(packed[16:])}
        return cls(UUID(bytes=packed[:16]), places)


async def check_cursor(cursor: Cursor, incarnation: UUID, backend: Backend) -> None:
    """Refuse a cursor that this log did not give."""
    if cursor.incarnation != incarnation:
        raise CursorRefused(
            f"The cursor is of log {cursor.incarnation}, but this is log {incarnation}. Start from the beginning."
        )
    for shard, place in cursor.places.items():
        there = await backend.place(shard, place.position)
        if there is None or there.chain != place.chain:
            what = "ends before that" if there is None else "holds another event there"
            raise CursorRefused(
                f"The cursor is at position {place.position}, but this log {what}: it was restored or replaced "
                "since. Start from the beginning, or from a cursor taken after that."
            )

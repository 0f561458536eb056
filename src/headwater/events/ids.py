"""Ids: UUIDv7 for new facts, UUIDv5 for facts whose id must come out the same each time.

A UUIDv7 carries its millisecond, then a 12-bit counter that keeps ids of one maker in order within a
millisecond (it borrows the next millisecond when it overflows), then 62 random bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import Struct
from typing import NewType, Protocol
from uuid import UUID, SafeUUID, uuid5

from headwater.events.clock import Clock, SystemClock
from headwater.events.envelope import Stream

EventId = NewType("EventId", UUID)

_NAMESPACE = UUID("6f3c1c50-6d1c-5d5e-9a6b-0d9f0d6f7a11")
_POOL = Struct(">128Q")
_bare = UUID.__new__
_set_int, _set_safe = UUID.__dict__["int"].__set__, UUID.__dict__["is_safe"].__set__
_UNKNOWN = SafeUUID.unknown


class Ids(Protocol):
    """Where new event ids come from."""

    def new(self) -> EventId: ...


class TimeOrderedIds:
    """UUIDv7, in order for one maker; clock and randomness are parameters."""

    def __init__(self, clock: Clock | None = None, random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock or SystemClock()
        self._random = random
        self._chances: list[int] = []
        self._last = 0

    def new(self) -> EventId:
        stamp = (self._clock.now_us() // 1000) << 12
        self._last = stamp = stamp if stamp > self._last else self._last + 1
        if not self._chances:
            self._chances = list(_POOL.unpack(self._random(_POOL.size)))
        chance = self._chances.pop() >> 2
        made = _bare(UUID)  # what its constructor would check is so
        _set_int(made, (stamp >> 12) << 80 | (0x7000 | stamp & 0xFFF) << 64 | 1 << 63 | chance)
        _set_safe(made, _UNKNOWN)
        return EventId(made)


def derived_id(stream: Stream, key: str, index: int = 0) -> EventId:
    """The id of the `index`-th event that `key` (an idempotency key) causes in `stream`; always the same."""
    parts = (stream.tenant, stream.type, stream.id, key, str(index))
    return EventId(uuid5(_NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))

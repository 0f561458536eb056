"""States in the memory of this process: for tests, and for what is quick to build at each start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headwater.errors import CheckpointMoved
from headwater.log.side import PutState
from headwater.projections.stores import FROM_START, NOT_ASKED, Checkpoint, Key, StateRow


@dataclass(slots=True)
class _Generation:
    at: Checkpoint
    until: int = 0
    rows: dict[Key, StateRow] = field(default_factory=dict[Key, StateRow])


class MemoryStore:
    """A store without a disk. No method awaits anything, so each is one transaction."""

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        self._now_us = now_us or (lambda: time.monotonic_ns() // 1000)
        self._kept: dict[tuple[str, int], _Generation] = {}

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        return [kept.at for place, kept in sorted(self._kept.items()) if name in {None, place[0]}]

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        if live and self._live(name) is not None:
            return
        at = Checkpoint(name, generation, version, live, False, 0, 0, "")
        self._kept.setdefault((name, generation), _Generation(at))

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        kept, now = self._kept.get((name, generation)), self._now_us()
        if kept is None or (kept.at.holder != holder and kept.until > now):
            return None
        epoch = kept.at.epoch + (kept.at.holder != holder)
        kept.at, kept.until = kept.at._replace(holder=holder, epoch=epoch), now + lease_us
        return kept.at

    async def release(self, name: str, generation: int, holder: str) -> None:
        kept = self._kept.get((name, generation))
        if kept is not None and kept.at.holder == holder:
            kept.until = 0

    async def pause(self, name: str, *, paused: bool) -> bool:
        live = self._live(name)
        if live is None:
            return False
        live.at = live.at._replace(paused=paused, epoch=live.at.epoch + 1)
        return True

    async def swap(self, at: Checkpoint) -> bool:
        kept, live = self._kept.get((at.name, at.generation)), self._live(at.name)
        if kept is None or kept.at != at or (live is not None and live.at.position > at.position):
            return False
        for place in [p for p in self._kept if p[0] == at.name and p[1] != at.generation]:
            del self._kept[place]
        paused = live is not None and live.at.paused
        kept.at, kept.until = at._replace(live=True, paused=paused, epoch=at.epoch + 1), 0
        return True

    async def drop(self, name: str, generation: int) -> None:
        kept = self._kept.get((name, generation))
        if kept is not None and not kept.at.live:
            del self._kept[name, generation]

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        kept = self._kept.get((name, generation))
        return {} if kept is None else {key: kept.rows[key] for key in keys if key in kept.rows}

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        kept = self._kept.get((at.name, at.generation))
        if kept is None or (kept.at.epoch, kept.at.position) != (at.epoch, at.position):
            raise CheckpointMoved(at.name)
        for row in rows:
            there = kept.rows.get(Key(row.tenant, row.key))
            if there is None or there.again or there.position <= row.position:
                kept.rows[Key(row.tenant, row.key)] = row
        kept.at = kept.at._replace(position=position)
        return kept.at

    def put(self, row: PutState, position: int) -> None:
        """Put a state that goes with an append."""
        live = self._live(row.projection)
        if live is not None and live.at.version == row.fold:
            key = Key(row.stream.tenant, row.key)
            there = live.rows.get(key)
            again = there.again if there is not None else NOT_ASKED
            live.rows[key] = StateRow(*key, position, row.state, again=again)

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        kept = self._kept.get((name, generation))
        rows = sorted(kept.rows.items()) if kept else []
        return [row for key, row in rows if after is None or key > after][:limit]

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        kept = self._kept.get((name, generation))
        rows = sorted(kept.rows.items()) if kept else []
        found = [row for _, row in rows if row.parked or row.again]
        return sorted(found, key=lambda row: not row.again)[:limit]

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        live = self._live(name)
        if live is None:
            return 0
        asked = [
            place
            for place, row in live.rows.items()
            if tenant in {None, row.tenant} and key in {None, row.key} and (row.parked or again == FROM_START)
        ]
        for place in asked:
            live.rows[place] = live.rows[place]._replace(again=again)
        live.at = live.at._replace(epoch=live.at.epoch + 1)
        return len(asked)

    def _live(self, name: str) -> _Generation | None:
        return next((k for (n, _), k in self._kept.items() if n == name and k.at.live), None)

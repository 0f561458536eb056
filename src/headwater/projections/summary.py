"""What there is to say of projections, from the stores alone: for whoever looks, without any app's code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD
from headwater.projections.stores import ELSEWHERE, Checkpoint, StateRow, Store

COUNTED: Final = 1000
"""Keys that wait are counted up to here."""


class Summary(NamedTuple):
    """One projection: the generation in use, and the one that is being built beside it, if there is one."""

    name: str
    version: int
    position: int
    lag: int
    paused: bool
    parked: int
    asked: int
    building: Checkpoint | None

    @property
    def status(self) -> str:
        if self.paused:
            return "paused"
        return "parked" if self.parked else "behind" if self.lag else "current"


async def summaries(log: Log, store: Store, name: str | None = None) -> Sequence[Summary]:
    """All projections of a store, or one, by name."""
    there = [at for at in await store.checkpoints(name) if ELSEWHERE not in at.name]
    tail = (await log.backend.tail(DEFAULT_SHARD)).position
    found: list[Summary] = []
    for live in (at for at in there if at.live):
        rows = await store.parked(live.name, live.generation, limit=COUNTED)
        building = next((at for at in there if at.name == live.name and not at.live and at.version), None)
        parked = sum(1 for row in rows if row.parked)
        asked = sum(1 for row in rows if row.asked)
        found.append(
            Summary(
                live.name,
                live.version,
                live.position,
                max(0, tail - live.position),
                live.paused,
                parked,
                asked,
                building,
            )
        )
    return found


def as_fields(summary: Summary) -> dict[str, Any]:
    """A projection as JSON."""
    building = summary.building
    return {
        **summary._asdict(),
        "status": summary.status,
        "building": building and {"version": building.version, "position": building.position},
    }


def parked_fields(row: StateRow) -> dict[str, Any]:
    """A key that is parked, or is to be folded again, as JSON."""
    return {
        "tenant": row.tenant,
        "key": row.key,
        "parked": row.parked or None,
        "error": row.error or None,
        "again": row.asked,
    }

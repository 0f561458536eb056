"""Where a case on a backend works: an address for us, and one for the bare driver and the peers."""

from __future__ import annotations

from typing import NamedTuple

from bench.harness import Scale
from bench.places import Places


class Site(NamedTuple):
    backend: str
    url: str
    """Ours."""
    bare: str
    """The owner's address of the same Postgres database; another file on the same disk."""


async def site(places: Places, backend: str) -> Site:
    match backend:
        case "postgres":
            database = await places.database()
            return Site(backend, database.worker_url, database.owner_url)
        case "sqlite":
            return Site(backend, f"sqlite:///{places.file('runs.db')}", f"sqlite:///{places.file('bare.db')}")
        case _:
            return Site(backend, "memory:", "")


def size(scale: Scale, full: int, *, least: int = 1) -> int:
    """So much of what a full run has, as the scale says."""
    return max(least, full * scale.events // Scale.full().events)

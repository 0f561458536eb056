"""Where a case on a backend works: an address for us, and one for the bare driver and the peers."""

from __future__ import annotations

from typing import NamedTuple

from bench.harness import Scale
from bench.places import Places


class Site(NamedTuple):
    backend: str
    url: str
    """Ours."""
    bare: str = ""
    """The owner's address of the same Postgres database; another file on the same disk."""
    peer: str = ""
    restate: str = ""
    """A folder for the peer that brings its own storage; it is measured once, beside us on Postgres."""


async def site(places: Places, backend: str) -> Site:
    match backend:
        case "postgres":
            database = await places.database()
            owner = database.owner_url
            return Site(backend, database.worker_url, owner, owner, str(places.file("restate")))
        case "sqlite":
            files = [f"sqlite:///{places.file(name)}" for name in ("runs.db", "bare.db", "peer.db")]
            return Site(backend, *files)
        case _:
            return Site(backend, "memory:")


def size(scale: Scale, full: int, *, least: int = 1) -> int:
    """So much of what a full run has, as the scale says."""
    return max(least, full * scale.events // Scale.full().events)

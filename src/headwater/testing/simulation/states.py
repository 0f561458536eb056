"""A process's way to the states of projections: the store beside the log, through the same wire and weather.

A store's methods are its transactions. Each may be late, lost on its way, or carried out with its answer lost, and a
process may die before and after each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy

from headwater.errors import NotSupported
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.projections.memory import MemoryStore
from headwater.projections.open import store_for
from headwater.projections.projection import Projection, S
from headwater.projections.stores import Checkpoint, Key, StateRow, Store
from headwater.testing.simulation.backend import SimulatedBackend


class SimulatedStore:
    """Another store."""

    def __init__(self, inner: Store, backend: SimulatedBackend) -> None:
        self.inner, self._backend = inner, backend

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        return await self._backend.look("checkpoints", lambda: self.inner.checkpoints(name))

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        await self._backend.change("create", lambda: self.inner.create(name, generation, version, live=live))

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        return await self._backend.change("take", lambda: self.inner.take(name, generation, holder, lease_us))

    async def release(self, name: str, generation: int, holder: str) -> None:
        await self._backend.change("release", lambda: self.inner.release(name, generation, holder))

    async def pause(self, name: str, *, paused: bool) -> bool:
        return await self._backend.change("pause", lambda: self.inner.pause(name, paused=paused))

    async def swap(self, at: Checkpoint) -> bool:
        return await self._backend.change(f"swap {at.position}", lambda: self.inner.swap(at))

    async def drop(self, name: str, generation: int) -> None:
        await self._backend.change("drop", lambda: self.inner.drop(name, generation))

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> Mapping[Key, StateRow]:
        return await self._backend.look("load", lambda: self.inner.load(name, generation, keys))

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        what = f"save {at.position} to {position}"
        return await self._backend.change(what, lambda: self.inner.save(at, position, rows))

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        return await self._backend.look("page", lambda: self.inner.page(name, generation, after, limit))

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        return await self._backend.look("parked", lambda: self.inner.parked(name, generation, limit))

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        return await self._backend.change(
            "request", lambda: self.inner.request(name, again, tenant=tenant, key=key)
        )


def simulated(projection: Projection[S], now: Callable[[], float]) -> Projection[S]:
    """A projection whose states lie where the world's log does."""

    def store(log: Log) -> Store:
        return simulated_store(log, now)

    there = copy(
        projection
    )  # not made anew, which an inline one refuses of other stores: this is the log's own
    object.__setattr__(there, "store", store)
    return there


def simulated_store(log: Log, now: Callable[[], float]) -> Store:
    """The store where the world's log is."""
    backend = log.backend
    if not isinstance(backend, SimulatedBackend):
        return _beside(log, now)
    return SimulatedStore(_beside(Log(backend.inner), now), backend)


def _beside(log: Log, now: Callable[[], float]) -> Store:
    backend = log.backend
    if not isinstance(backend, MemoryBackend):
        return store_for(log)
    kept = backend.beside.setdefault("projections", MemoryStore(lambda: int(now() * 1_000_000)))
    if not isinstance(kept, MemoryStore):
        raise NotSupported("Something else is kept beside this log.")
    backend.states = kept
    return kept

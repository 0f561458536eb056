"""Rebuilding: a second generation is folded from the start beside the live one, and put into its place.

Readers see the live generation until the swap, which is one transaction and happens only when the new one is at
least as far. A rebuild that was killed is taken up where its checkpoint is, by whoever rebuilds next; of two who
rebuild at once, one folds, and the other waits until it is done. `verify` builds in the same way, in a generation
of its own, compares and drops what it built.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import uuid4

from headwater.errors import CheckpointMoved
from headwater.log.log import Log
from headwater.log.port import DEFAULT_SHARD
from headwater.projections.collector import seldom_collected
from headwater.projections.current import in_use
from headwater.projections.folding import Folding
from headwater.projections.projection import Projection
from headwater.projections.stores import Checkpoint, CheckpointRepository, Key, StateRow, Store

Went = Callable[[int, int], None]
"""Told how far the work is, and how far it goes."""
_VERIFYING: Final = 0  # the version of what is built to be compared: no rebuild goes on with it


class Compared(NamedTuple):
    """What a rebuild found: keys compared, and those whose states were not the fold of the log."""

    keys: int
    different: tuple[Key, ...]
    hash: str


class Generations(NamedTuple):
    """The generation in use; and whether one of this fold is begun beside it: asked for, or left by who was killed."""

    live: Checkpoint
    asked: bool


async def generations_of(store: CheckpointRepository, projection: Projection[Any]) -> Generations:
    """What there is of a projection; the first generation is begun here."""
    while True:
        there = await store.checkpoints(projection.name)
        live = next((at for at in there if at.live), None)
        if live is not None:
            asked = any(not at.live and at.version == projection.version for at in there)
            return Generations(live, asked)
        following = max((at.generation for at in there), default=0) + 1
        await store.create(projection.name, following, projection.version, live=True)


async def live_of(store: CheckpointRepository, projection: Projection[Any]) -> Checkpoint:
    """The generation in use; the first one is begun here."""
    return (await generations_of(store, projection)).live


async def rebuild(
    log: Log, projection: Projection[Any], store: Store, *, lease: float = 10.0, went: Went | None = None
) -> Compared:
    """Build all states anew and put them into use."""
    return await _build(log, projection, store, lease, went, keep=True)


async def verify(
    log: Log, projection: Projection[Any], store: Store, *, lease: float = 10.0, went: Went | None = None
) -> Compared:
    """Build all states anew, compare them with those in use, and forget what was built."""
    return await _build(log, projection, store, lease, went, keep=False)


async def state_hash(store: Store, name: str, generation: int) -> str:
    """SHA-256 over tenant, key and state of all keys, in order and framed by their lengths."""
    return (await _as_it_is(store, name, generation)).hash


async def _build(
    log: Log, projection: Projection[Any], store: Store, lease: float, went: Went | None, *, keep: bool
) -> Compared:
    live = await live_of(store, projection)
    holder = f"{'rebuild' if keep else 'verify'}-{uuid4()}"
    # without reading ahead: a tenth slower, but live appends lose a sixth of their rate meanwhile, and not a quarter
    folding = Folding(log, projection, store, holder, lease=lease, every=lease / 3, shows=keep, ahead=False)
    version = projection.version if keep else _VERIFYING
    generation = await _begun(store, projection.name, version, live)
    ours = False
    try:
        while True:
            ours = await _taken(folding, generation, store, lease)
            if not ours:
                live = await live_of(store, projection)
                if keep and live.generation >= generation:
                    found = await _as_it_is(store, live.name, live.generation)
                    if (await live_of(store, projection)).generation == live.generation:
                        return found
                else:
                    generation = await _begun(store, projection.name, version, live)
                continue
            try:
                with seldom_collected():
                    compared = await _caught_up(log, folding, store, lease, went)
            except CheckpointMoved:
                ours = False
                continue  # another goes on with it, or has dropped it
            if compared is None:
                continue
            if not keep:
                return compared
            if folding.at is not None and await store.swap(folding.at):
                folding.at = None
                return compared
    finally:
        await folding.release()
        if ours and not keep:
            await store.drop(projection.name, generation)


async def _taken(folding: Folding[Any], generation: int, store: Store, lease: float) -> bool:
    """Take the lease, which somebody who was killed may hold until it passes; False if there is nothing to build."""
    clock, name = asyncio.get_running_loop().time, folding.projection.name
    until, position = clock() + lease * 1.5, -1
    while True:
        there = await store.checkpoints(name)
        ours = next((at for at in there if at.generation == generation and not at.live), None)
        if ours is None:
            return False
        if await folding.take(generation) is not None:
            return True
        if ours.position > position:
            until, position = clock() + lease * 1.5, ours.position
        if clock() > until:
            raise CheckpointMoved(name)
        await asyncio.sleep(min(0.1, lease / 20))


async def _as_it_is(store: Store, name: str, generation: int) -> Compared:
    """What there is, with nothing to compare it with."""
    keys, digest = 0, sha256()
    async for row in _all(store, name, generation):
        keys += 1
        digest.update(_framed(row))
    return Compared(keys, (), digest.hexdigest())


def _framed(row: StateRow) -> bytes:
    """What is hashed of a state: no two of them give the same."""
    parts = (row.tenant.encode(), row.key.encode(), row.state or b"")
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


async def ask_rebuild(store: Store, name: str) -> bool:
    """Have a worker build all states anew, at its next round; False if there is no such projection."""
    live = await in_use(store, name)
    if live is not None:
        await _begun(store, name, live.version, live)
    return live is not None


async def _begun(store: Store, name: str, version: int, live: Checkpoint) -> int:
    """A generation under construction: the one that a rebuild before us has left, or a new one."""
    there = await store.checkpoints(name)
    for at in there:
        if not at.live and at.version == version:
            return at.generation
        if not at.live and version != _VERIFYING:
            await store.drop(at.name, at.generation)
    generation = max(at.generation for at in there or [live]) + 1
    await store.create(name, generation, version, live=False)
    return generation


async def _caught_up(
    log: Log, folding: Folding[Any], store: Store, lease: float, went: Went | None
) -> Compared | None:
    """Fold for a third of the lease: None if there is more to do, else how the states compare."""
    clock = asyncio.get_running_loop().time
    until = clock() + lease / 3
    goal = (await log.backend.tail(DEFAULT_SHARD)).position
    more = True
    while more and clock() < until:
        more = await folding.step()
        if went is not None and folding.at is not None:
            went(min(folding.seen, goal), goal)
    await folding.settle()
    live = await live_of(store, folding.projection)
    if folding.at is None or folding.at.position < max(live.position, goal):
        return None
    judged = live.version == folding.projection.version
    compared = await _compare(store, live, folding.at, judged=judged)
    return compared if (await live_of(store, folding.projection)).generation == live.generation else None


async def _compare(store: Store, live: Checkpoint, built: Checkpoint, *, judged: bool) -> Compared:
    """Compare states of the same key at the same position; a live key that has moved on is not judged.

    Without `judged`, the two are of different folds, and those in use are not looked at.
    """
    different: list[Key] = []
    keys = 0
    digest = sha256()
    after: Key | None = None
    while rows := await store.page(built.name, built.generation, after):
        after = Key(rows[-1].tenant, rows[-1].key)
        wanted = [Key(row.tenant, row.key) for row in rows]
        there = await store.load(live.name, live.generation, wanted if judged else [])
        for key, row in zip(wanted, rows, strict=True):
            keys += 1
            digest.update(_framed(row))
            other = there.get(key)
            if judged and _differs(other, row, live.position):
                different.append(key)
    if judged:
        different += [key async for key in _missing(store, live, built)]
    return Compared(keys, tuple(different), digest.hexdigest())


def _differs(live: StateRow | None, built: StateRow, position: int) -> bool:
    """A live state that is behind, or not there, is wrong if its checkpoint has passed what it lacks.

    One that is parked is not judged.
    """
    if live is None:
        return max(built.position, built.parked) <= position
    if live.parked or live.again:
        return False
    if live.position == built.position:
        return live.state != built.state
    return live.position < built.position <= position


async def _missing(store: Store, live: Checkpoint, built: Checkpoint) -> AsyncIterator[Key]:
    """Live keys that the fold of the log does not have."""
    after: Key | None = None
    while rows := await store.page(live.name, live.generation, after):
        after = Key(rows[-1].tenant, rows[-1].key)
        wanted = [Key(row.tenant, row.key) for row in rows if row.position <= built.position]
        there = await store.load(built.name, built.generation, wanted)
        for key in wanted:
            if key not in there:
                yield key


async def _all(store: Store, name: str, generation: int) -> AsyncIterator[StateRow]:
    after: Key | None = None
    while rows := await store.page(name, generation, after):
        after = Key(rows[-1].tenant, rows[-1].key)
        for row in rows:
            yield row

"""What a store has in use: the live generation of a projection, and a state in it.

A rebuild may put another generation in its place between two calls. A state that is there is right whenever it was
read; one that is missing may be so because its generation is gone, and is looked for in the one that is live then.
"""

from __future__ import annotations

from headwater.projections.stores import Checkpoint, CheckpointRepository, Key, StateRow, Store


async def in_use(store: CheckpointRepository, name: str) -> Checkpoint | None:
    """The live generation, if there is one."""
    return next((at for at in await store.checkpoints(name) if at.live), None)


async def state_in_use(store: Store, name: str, key: Key) -> StateRow | None:
    """What is kept of a key."""
    live = await in_use(store, name)
    while live is not None:
        row = (await store.load(name, live.generation, [key])).get(key)
        now = None if row is not None else await in_use(store, name)
        if now is None or now.generation == live.generation:
            return row
        live = now
    return None

"""Bugs to plant into reactors, to see whether their workload finds them (see `mutants`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.errors import CheckpointMoved
from headwater.pipelines import reactors
from headwater.pipelines.reactors import Reacting, Reaction
from headwater.projections.stores import LATER, Checkpoint, Key, StateRow
from headwater.testing.simulation.mutants import Mutant, Patch
from headwater.testing.simulation.states import SimulatedStore


def _park_at_no_position(park: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, *rest: Any) -> StateRow:
        row: StateRow = await park(reacting, *rest)
        return row._replace(position=0)

    return mutated


def _move_the_checkpoint_first(page: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, rows: Sequence[Any]) -> Any:
        [at] = await reacting._store.checkpoints(reacting.name)
        if at.position < rows[-1][0]:
            reacting._ahead = await reacting._store.save(at, rows[-1][0], [])
        return await page(reacting, rows)

    return mutated


def _go_on_from_there(save: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, at: Checkpoint, *rest: Any) -> Any:
        ahead, reacting._ahead = getattr(reacting, "_ahead", None), None
        return await save(reacting, ahead or at, *rest)

    return mutated


def _see_nobody_wait(load: Any) -> Callable[..., Any]:
    async def mutated(store: Any, *rest: Any) -> dict[Key, StateRow]:
        return {key: row._replace(parked=0) for key, row in (await load(store, *rest)).items()}

    return mutated


def _try_the_failed_one_only(again: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, row: StateRow, at: Checkpoint) -> StateRow:
        tried: StateRow = await again(reacting, row, at._replace(position=row.parked))
        return tried if tried.parked else tried._replace(position=at.position)

    return mutated


def _count_on(again: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, row: StateRow, at: Checkpoint) -> Any:
        return await again(reacting, row._replace(again=LATER), at)

    return mutated


def _save_over_what_was_asked(_: Any) -> Callable[..., Any]:
    async def mutated(reacting: Any, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Any:
        try:
            return await reacting._store.save(at, position, rows)
        except CheckpointMoved:
            now = await reacting._take()
            if now is None or now.position != at.position:
                raise
            return await reacting._store.save(now, position, rows)

    return mutated


def _name_the_try(_: Any) -> Callable[..., Any]:
    def mutated(recorded: Any, key: str, attempt: int) -> Reaction:
        return Reaction(recorded, f"{key}/{attempt}", attempt)

    return mutated


REACTOR_MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "parked-at-no-position",
            "an aggregate that failed, went on and failed again is not kept, since its row seems older",
            (Patch(Reacting, "_park", _park_at_no_position),),
        ),
        Mutant(
            "checkpoint-before-effects",
            "the checkpoint moves before the effects of a page are done",
            (
                Patch(Reacting, "_page", _move_the_checkpoint_first),
                Patch(Reacting, "_save", _go_on_from_there),
            ),
        ),
        Mutant(
            "waiting-aggregate-overtaken",
            "later events of an aggregate are reacted to before the one that it waits for",
            (Patch(SimulatedStore, "load", _see_nobody_wait),),
        ),
        Mutant(
            "behind-the-failed-forgotten",
            "what came between the event that failed and the checkpoint is passed over",
            (Patch(Reacting, "_again", _try_the_failed_one_only),),
        ),
        Mutant(
            "redrive-counts-on",
            "who asks for an aggregate that was given up gets no new tries",
            (Patch(Reacting, "_again", _count_on),),
        ),
        Mutant(
            "asked-meanwhile",
            "what is asked while a try is under way is forgotten when it fails",
            (Patch(Reacting, "_save", _save_over_what_was_asked),),
        ),
        Mutant(
            "key-of-a-try",
            "each try of an event has a key of its own",
            (Patch(reactors, "Reaction", _name_the_try),),
        ),
    )
}

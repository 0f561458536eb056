"""Bugs to plant into projections, to see whether their workload finds them (see `mutants`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from headwater.log.snapshots import Folded
from headwater.projections import rebuild
from headwater.projections.entries import Entry
from headwater.projections.folding import Folding
from headwater.projections.inline import Inline
from headwater.projections.memory import MemoryStore
from headwater.projections.pages import Pages
from headwater.projections.rebuild import Compared
from headwater.projections.states import States
from headwater.projections.stores import Key, StateRow
from headwater.testing.simulation.mutants import Mutant, Patch


def _checkpoint_first(_: Any) -> Callable[..., Any]:
    async def mutated(folding: Any, position: int, rows: Sequence[StateRow]) -> None:
        try:
            folding.at = await folding._store.save(folding.at, position, [])
            folding.at = await folding._store.save(folding.at, position, rows)
        except BaseException:
            folding.at = None
            folding._forget()
            raise

    return mutated


def _begin_at_the_last_event(after: Any) -> Callable[..., Any]:
    async def mutated(pages: Any, position: int) -> Any:
        return await after(pages, max(0, position - 1))

    return mutated


def _forget_where_a_state_is(fold: Any) -> Callable[..., Any]:
    def mutated(entry: Any, *rest: Any) -> Any:
        entry.position = 0
        return fold(entry, *rest)

    return mutated


def _pass_what_failed(_: Any) -> Callable[..., Any]:
    def mutated(_: Any) -> AbstractContextManager[None]:
        return nullcontext()

    return mutated


def _pass_the_parked(fold: Any) -> Callable[..., Any]:
    def mutated(entry: Any, *rest: Any) -> Any:
        entry.parked, entry.error = 0, ""
        return fold(entry, *rest)

    return mutated


def _call_it_caught_up(_: Any) -> Callable[..., Any]:
    async def mutated(_: Any, folding: Any, *__: Any) -> Compared:
        await folding.step()
        return Compared(0, (), "")

    return mutated


def _swap_what_is_behind(swap: Any) -> Callable[..., Any]:
    async def mutated(store: Any, at: Any) -> bool:
        live = store._live(at.name)
        if live is not None:
            live.at = live.at._replace(position=min(live.at.position, at.position))
        return bool(await swap(store, at))

    return mutated


def _go_on_from_what_is_remembered(at: Any) -> Callable[..., Any]:
    async def mutated(inline: Any, stream: Any, version: int) -> Any:
        _, states = inline._remembered.get(stream, (0, None))
        return states if states is not None else await at(inline, stream, version)

    return mutated


def _ask_the_log(_: Any) -> Callable[..., Any]:
    async def mutated(inline: Any, stream: Any) -> int:
        return int(await inline._log.version(stream))

    return mutated


def _believe_what_is_kept(_: Any) -> Callable[..., Any]:
    async def mutated(states: Any, stream: Any) -> Any:
        row = await states._row(Key(stream.tenant, f"{stream.type}/{stream.id}"))
        if row is None or row.state is None:
            return None
        return Folded(states._projection.decode(row.state), await states._log.version(stream))

    return mutated


PROJECTION_MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "checkpoint-before-state",
            "the checkpoint moves in a transaction before that of the states",
            (Patch(Folding, "_save", _checkpoint_first),),
        ),
        Mutant(
            "applied-twice",
            "a page begins with the event that was folded last, and no state knows where it is",
            (
                Patch(Pages, "after", _begin_at_the_last_event),
                Patch(Entry, "fold", _forget_where_a_state_is),
            ),
        ),
        Mutant(
            "failed-page-passed",
            "what was read stays behind when folding it fails in the middle, and the next page is folded",
            (Patch(Folding, "_or_anew", _pass_what_failed),),
        ),
        Mutant(
            "parked-key-overtaken",
            "later events of a key are folded past the one that it is parked at",
            (Patch(Entry, "fold", _pass_the_parked),),
        ),
        Mutant(
            "swap-before-caught-up",
            "what was built is put into use while it is behind",
            (
                Patch(rebuild, "_caught_up", _call_it_caught_up),
                Patch(MemoryStore, "swap", _swap_what_is_behind),
            ),
        ),
        Mutant(
            "inline-at-another-version",
            "an append carries a state that was folded from another version than it expects",
            (
                Patch(Inline, "version", _ask_the_log),
                Patch(Inline, "_at", _go_on_from_what_is_remembered),
            ),
        ),
        Mutant(
            "inline-taken-for-all",
            "a kept state is taken for the newest, whatever was appended without one",
            (Patch(States, "_kept", _believe_what_is_kept),),
        ),
    )
}

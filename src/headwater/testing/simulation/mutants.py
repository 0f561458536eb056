"""Bugs to plant, to see whether the simulator finds them.

Each is one that a log could have, and that somebody's has had. It is planted by patching a method for the length of a
`with`, in the process that simulates, and nowhere else: nothing in the program knows of it. A mutant that is not found
means that the simulator is too weak. The layers above the log add their own to `MUTANTS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid5

from headwater.log import rules
from headwater.log.group import GroupCommit
from headwater.log.live import Live
from headwater.log.memory import MemoryBackend
from headwater.log.port import BatchUnknown, Call, Page, Placed, PreparedWrite, Query
from headwater.log.reading import Reader
from headwater.log.side import Fence
from headwater.testing.simulation.backend import SimulatedBackend
from headwater.testing.simulation.wire import Attempt, Attempts

Make = Callable[[Any], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Patch:
    """`make` is given the method that stands there, and gives the one that is to stand there."""

    owner: Any
    name: str
    make: Make


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug, and how to have it for a while."""

    name: str
    what: str
    patches: tuple[Patch, ...]
    storage: Literal["memory", "sqlite"] = "memory"
    """Where it shows."""

    @contextmanager
    def planted(self) -> Generator[None]:
        originals = [(patch, getattr(patch.owner, patch.name)) for patch in self.patches]
        try:
            for patch, original in originals:
                setattr(patch.owner, patch.name, patch.make(original))
            yield
        finally:
            for patch, original in originals:
                setattr(patch.owner, patch.name, original)


# Judging


def _look_at_fences_early(append: Any) -> Callable[..., Any]:
    async def mutated(backend: Any, shard: int, calls: Sequence[Call]) -> Any:
        rows = backend.inner._rows
        fences = [
            (call.tenant, row)
            for call in calls
            for write in call.writes
            for row in write.side
            if isinstance(row, Fence)
        ]
        held = all(rows.epoch(tenant, fence.key) == fence.epoch for tenant, fence in fences)
        await asyncio.sleep(0.01)
        return await append(backend, shard, [_without_fences(call) for call in calls] if held else calls)

    return mutated


def _without_fences(call: Call) -> Call:
    writes = [
        w._replace(side=tuple(row for row in w.side if not isinstance(row, Fence))) for w in call.writes
    ]
    return call._replace(writes=tuple(writes))


def _ids_only_if_misused(_: Any) -> Callable[..., Any]:
    only: Callable[..., Any] = vars(rules)["_refuse_ids"]
    return only


def _count_known_as_new(_: Any) -> Callable[..., Any]:
    def mutated(write: PreparedWrite, _: object) -> int:
        return len(write.rows)

    return mutated


def _drop_links(link: Any) -> Callable[..., Any]:
    def mutated(chain: bytes, position: int, version: int, recorded_at: int, digest: bytes) -> bytes:
        extended: bytes = link(
            bytes(32) if position % 7 == 0 else chain, position, version, recorded_at, digest
        )
        return extended

    return mutated


def _apply_refused(judge: Any) -> Callable[..., Any]:
    def mutated(calls: Sequence[Call], *rest: Any) -> rules.Judgement:
        judgement: rules.Judgement = judge(calls, *rest)
        for call, outcome in zip(calls, judgement.outcomes, strict=True):
            if not isinstance(outcome, Placed):
                judgement.side += [(call.tenant, row) for write in call.writes for row in write.side]
        return judgement

    return mutated


def _reuse_position(accept: Any) -> Callable[..., Any]:
    def mutated(call: Call, known: Any, versions: Any, judgement: rules.Judgement) -> Placed:
        if judgement.outcomes and not isinstance(judgement.outcomes[-1], Placed) and judgement.tail.position:
            judgement.tail = judgement.tail._replace(position=judgement.tail.position - 1)
        placed: Placed = accept(call, known, versions, judgement)
        return placed

    return mutated


def _clear_recorded_time(judge: Any) -> Callable[..., Any]:
    def mutated(calls: Sequence[Call], view: Any, tail: rules.Tail, now_us: int) -> rules.Judgement:
        judgement: rules.Judgement = judge(calls, view, tail._replace(recorded_at=0), now_us)
        return judgement

    return mutated


def _forget_wakes_of_the_owned(release: Any) -> Callable[..., Any]:
    async def mutated(backend: Any, tenant: str, keys: Sequence[str], holder: str) -> Any:
        for key in keys:
            fence = backend._rows.fenced.get((tenant, key))
            if fence:
                fence.wakes = 0
        return await release(backend, tenant, keys, holder)

    return mutated


# Group commit


def _leave_unawaited(submit: Any) -> Callable[..., Any]:
    def mutated(group: Any, prepared: Any, *, awaited: bool) -> Any:
        pending = submit(group, prepared, awaited=awaited)
        if not awaited and group._timer is not None:
            group._timer.cancel()
            group._timer = None
        return pending

    return mutated


def _go_on_before_it_is_known(_: Any) -> Callable[..., Any]:
    async def deliver(group: Any, batch: Any) -> None:
        for pending, outcome in zip(batch, await group._settle(batch), strict=True):
            if not pending.future.done():
                if isinstance(outcome, Placed):
                    pending.future.set_result(outcome)
                else:
                    pending.future.set_exception(outcome)
                    pending.future.exception()

    async def mutated(group: Any) -> None:
        try:
            while group._queue:
                batch = group._take()
                delivery = asyncio.create_task(deliver(group, batch), name="headwater-flush")
                await asyncio.wait([delivery], timeout=0.02)
        finally:
            group._task = None

    return mutated


def _rename(settle: Any) -> Callable[..., Any]:
    async def mutated(group: Any, batch: Any, *rest: Any, **more: Any) -> Any:
        try:
            return await group._flush([pending.prepared.call for pending in batch])
        except BatchUnknown:
            for pending in batch:
                pending.prepared = pending.prepared._replace(call=_with_new_ids(pending.prepared.call))
        except Exception:  # noqa: BLE001, S110  the original meets it again
            pass
        return await settle(group, batch, *rest, **more)

    return mutated


def _with_new_ids(call: Call) -> Call:
    writes = [
        write._replace(rows=tuple(row._replace(event_id=uuid5(row.event_id, "again")) for row in write.rows))
        for write in call.writes
    ]
    return call._replace(writes=tuple(writes))


def _withdraw_cancelled(take: Any) -> Callable[..., Any]:
    def mutated(group: Any) -> Any:
        group._queue = deque(pending for pending in group._queue if not pending.future.cancelled())
        return take(group)

    return mutated


def _never_split(take: Any) -> Callable[..., Any]:
    def mutated(group: Any) -> Any:
        for pending in group._queue:
            pending.prepared = pending.prepared._replace(claims=())
        return take(group)

    return mutated


# Reading


def _believe_the_hint(read: Any) -> Callable[..., Any]:
    async def mutated(reader: Any, query: Query, *, follow: bool) -> Page:
        hinted = reader._live._tail
        if follow and hinted > query.after + 1:
            query = replace(query, after=hinted - 1)
        page: Page = await read(reader, query, follow=follow)
        return page

    return mutated


def _advance_past_the_unseen(read: Any) -> Callable[..., Any]:
    async def mutated(reader: Any, query: Query, *, follow: bool) -> Page:
        page: Page = await read(reader, query, follow=follow)
        return page._replace(seen=max(page.seen, reader._live._tail)) if follow and page.done else page

    return mutated


def _only_wait_for_hints(_: Any) -> Callable[..., Any]:
    async def mutated(live: Any) -> None:
        while live._waiters:
            live.saw((await live._backend.tail(0)).position)
            await live._backend.hints.wait(1e9)

    return mutated


# The database


def _let_zombies_be(_: Any) -> Callable[..., Any]:
    def mutated(attempts: Attempts, attempt: Attempt) -> None:
        attempts.end(attempt)

    return mutated


_ALL = (
    Mutant(
        "unlocked-fence",
        "a fence is looked at before the append's lock is held",
        (Patch(SimulatedBackend, "append", _look_at_fences_early),),
    ),
    Mutant(
        "expect-before-ids",
        "expectations are judged before ids are looked up",
        (Patch(rules, "_judge_ids", _ids_only_if_misused), Patch(rules, "_count_new", _count_known_as_new)),
    ),
    Mutant("link-dropped", "an event does not extend the chain", (Patch(rules, "link", _drop_links),)),
    Mutant(
        "refused-leaves-rows", "a refused call's side rows are kept", (Patch(rules, "judge", _apply_refused),)
    ),
    Mutant(
        "position-reused",
        "after a refusal a position is given again",
        (Patch(rules, "_accept", _reuse_position),),
    ),
    Mutant(
        "time-goes-back",
        "recorded time follows the clock back",
        (Patch(rules, "judge", _clear_recorded_time),),
    ),
    Mutant(
        "wakes-forgotten",
        "a claim forgets the wake marks that came before it",
        (Patch(MemoryBackend, "claim", _forget_wakes_of_the_owned),),
    ),
    Mutant(
        "unawaited-lost",
        "a call that nobody awaits is never sent",
        (Patch(GroupCommit, "submit", _leave_unawaited),),
    ),
    Mutant(
        "flush-too-early",
        "the next batch goes before the outcome of the last is known",
        (Patch(GroupCommit, "_run", _go_on_before_it_is_known),),
    ),
    Mutant(
        "retried-with-new-ids",
        "a batch is sent again with other event ids",
        (Patch(GroupCommit, "_settle", _rename),),
    ),
    Mutant(
        "cancelled-withdrawn",
        "a cancelled caller's call is taken back",
        (Patch(GroupCommit, "_take", _withdraw_cancelled),),
    ),
    Mutant(
        "batch-not-split",
        "one batch names a side row twice",
        (Patch(GroupCommit, "_take", _never_split),),
    ),
    Mutant(
        "hint-trusted",
        "a subscription reads what the hint names, not what it has not read",
        (Patch(Reader, "_read", _believe_the_hint),),
    ),
    Mutant(
        "cursor-too-far",
        "a cursor advances past events that were not read",
        (Patch(Reader, "_read", _advance_past_the_unseen),),
    ),
    Mutant(
        "hints-only",
        "a subscription wakes only when it is hinted",
        (Patch(Live, "_watch", _only_wait_for_hints),),
    ),
    Mutant(
        "zombie-not-voided",
        "an attempt whose outcome was lost is carried out after its retry was refused",
        (Patch(Attempts, "void", _let_zombies_be),),
    ),
)
MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in _ALL}

"""Bugs to plant into the engine, to see whether the runs workload finds them (see `mutants`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.client.embedded import Embedded
from headwater.engine import active as runs_in_memory
from headwater.engine import local, remote, timers
from headwater.engine.actions import Action
from headwater.engine.active import ActiveRun
from headwater.engine.local import LocalSteps
from headwater.engine.membership import Membership
from headwater.engine.outbox import Outbox
from headwater.engine.transactions import COMMITTED
from headwater.errors import FenceLost, KeyTaken, RowGone
from headwater.events.envelope import Stream
from headwater.log.memory import MemoryBackend
from headwater.log.port import Call, Release
from headwater.log.side import ClearDue, ClearReady, Fence, GiveKey, SideRow, Wake
from headwater.log.write import Write
from headwater.runs import creation, sending
from headwater.runs import events as run
from headwater.testing.simulation.backend import SimulatedBackend
from headwater.testing.simulation.mutants import Mutant, Patch


def _nothing(key: str) -> SideRow:
    return GiveKey(f"nothing {key}", "nobody", missing_ok=True)


# Owning


def _release_blindly(_: Any) -> Callable[..., Any]:
    def mutated(backend: Any, row: Release) -> bool:
        fence = backend._rows.fenced.get((row.tenant, row.key))
        if fence is None or fence.epoch != row.epoch:
            return False
        fence.holder, fence.seen = None, fence.wakes
        return True

    return mutated


def _write_without_fence(append: Any) -> Callable[..., Any]:
    async def mutated(backend: Any, shard: int, calls: Sequence[Call]) -> Any:
        return await append(backend, shard, [_without_fences(call) for call in calls])

    return mutated


def _without_fences(call: Call) -> Call:
    writes = [w._replace(side=tuple(r for r in w.side if not isinstance(r, Fence))) for w in call.writes]
    return call._replace(writes=tuple(writes))


def _go_on_after_fence_lost(refused: Any) -> Callable[..., Any]:
    def mutated(active: Any, out: Any, error: BaseException) -> None:
        if isinstance(error, FenceLost) and active.epoch < 50:
            active.epoch += 1
            active._write(out)
        else:
            refused(active, out, error)

    return mutated


def _keep_epoch_when_taken(take: Any) -> Callable[..., Any]:
    async def mutated(backend: Any, *args: Any, **more: Any) -> Any:
        taken = await take(backend, *args, **more)
        for one in taken:
            backend._rows.fenced[one.tenant, one.key].epoch -= 1
        return [one._replace(epoch=one.epoch - 1) for one in taken]

    return mutated


def _keep_epoch_when_swept(sweep: Any) -> Callable[..., Any]:
    async def mutated(backend: Any, *args: Any, **more: Any) -> Any:
        fences = backend._rows.fenced
        before = {key: fence.epoch for key, fence in fences.items()}
        swept = await sweep(backend, *args, **more)
        for key, epoch in before.items():
            fences[key].epoch = epoch
        return swept

    return mutated


def _own_what_is_there(existing: Any) -> Callable[..., Any]:
    async def mutated(log: Any, new: Any) -> Any:
        return (await existing(log, new))._replace(owned=True)

    return mutated


def _never_begin_anew(_: Any) -> Callable[..., Any]:
    async def mutated(members: Any) -> None:
        members._freed()

    return mutated


# Events in


def _ignore_gaps(advance: Any) -> Callable[..., Any]:
    def mutated(active: Any) -> None:
        if active._inbox and not active.gone:
            active.version = max(active.version, min(active._inbox) - 1)
        advance(active)

    return mutated


def _evict_while_fetching(_: Any) -> Any:
    def mutated(active: Any) -> bool:
        return active.version > 0 and not (
            active._tasks or active._flying or active._outbox.events or active._inbox or active._waiting
        )

    return property(mutated)


def _apply_before_durable(finish: Any) -> Callable[..., Any]:
    def mutated(active: Any, note: Any, event: Any, extra: Any = None) -> None:
        finish(active, note, event, extra)
        active.execution.deliver(event, active.host.now_us())
        active._go_on()

    return mutated


# Held


def _never_held(_: Any) -> Callable[..., Any]:
    def mutated(_: Any) -> bool:
        return False

    return mutated


# Starts


def _forget_lost_starts(start: Any) -> Callable[..., Any]:
    async def mutated(embedded: Any, *of: Any) -> Any:
        engine = embedded._engine
        if engine is not None:
            embedded._engine = _NotAdopting(engine)
        try:
            return await start(embedded, *of)
        finally:
            embedded._engine = engine

    return mutated


class _NotAdopting:
    """A worker that takes up nothing that it is not told to begin."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def adopt(self, _: Any) -> None:
        pass


# Writes out


def _drop_after_a_race(refused: Any) -> Callable[..., Any]:
    def mutated(active: Any, out: Any, error: BaseException) -> None:
        if isinstance(error, KeyTaken | RowGone):
            active._flying = None
            active._go_on()
        else:
            refused(active, out, error)

    return mutated


def _clean_up_when_dropped(drop: Any) -> Callable[..., Any]:
    def mutated(active: Any) -> None:
        root = active.execution._root
        if not active.gone and root is not None and not root.done():
            active.execution.loop.turn(root.cancel)
            active._go_on()
        drop(active)

    return mutated


def _leave_due_rows(_: Any) -> Callable[..., Any]:
    def mutated(out: Any, call: int) -> None:
        out.add(run.WaitCancelled(call=call), urgent=False)

    return mutated


def _never_show(_: Any) -> Callable[..., Any]:
    def mutated(*_: Any) -> None:
        pass

    return mutated


# Steps, timers and payloads


def _restart_at_most_once(execute: Any) -> Callable[..., Any]:
    async def mutated(local: Any, active: Any, note: Any, step: Any) -> None:
        note.begun = True
        await execute(local, active, note, step)

    return mutated


def _fire_cancelled_timers(_: Any) -> Callable[..., Any]:
    def mutated(key: str) -> SideRow:
        return ClearDue(key, missing_ok=True)

    return mutated


def _need_no_key(_: Any) -> Callable[..., Any]:
    def mutated(key: str, _: str) -> SideRow:
        return _nothing(key)

    return mutated


def _leave_no_mark(_: Any) -> Callable[..., Any]:
    def mutated(key: str, **_: Any) -> SideRow:
        return _nothing(key)

    return mutated


def _end_any_claim(_: Any) -> Callable[..., Any]:
    def mutated(queue: str, key: str, **_: Any) -> SideRow:
        return ClearReady(queue, key, missing_ok=True)

    return mutated


def _store_another_result(write: Any) -> Callable[..., Any]:
    def mutated(action: Any, ended: Any) -> Write:
        made: Write = write(action, ended)
        return Write(made.stream, made.events)

    return mutated


def _commit_what_failed(_: Any) -> Callable[..., Any]:
    async def mutated(
        log: Any, runner: Any, step: Any, call: int, given: Any, context: Any, stream: Stream, fence: Fence
    ) -> Any:
        async with log.transaction() as transaction:
            context.transaction = transaction
            ended = await runner.attempt(step, call, given, context)
            if isinstance(ended, Exception):
                return ended
            await transaction.append(Write(stream, [ended], expect=fence, rows=[Wake(fence.key)]))
        return COMMITTED

    return mutated


def _of_whatever_tenant(_: Any) -> Callable[..., Any]:
    async def mutated(action: Any) -> Any:
        async for recorded in action._log.read(stream_types=("action",)):
            if recorded.stream.id == action._stream.id:
                return recorded
        return None

    return mutated


_ALL = (
    Mutant(
        "released-blindly",
        "a run is let go though a mark has come",
        (Patch(MemoryBackend, "_release", _release_blindly),),
    ),
    Mutant(
        "no-fence",
        "the owner's writes name no epoch",
        (Patch(SimulatedBackend, "append", _write_without_fence),),
    ),
    Mutant(
        "fence-lost-ignored",
        "who has lost a run goes on with it",
        (Patch(ActiveRun, "_refused", _go_on_after_fence_lost),),
    ),
    Mutant(
        "epoch-kept",
        "a run changes hands without a new epoch",
        (
            Patch(MemoryBackend, "take", _keep_epoch_when_taken),
            Patch(MemoryBackend, "sweep", _keep_epoch_when_swept),
        ),
    ),
    Mutant(
        "begun-unowned",
        "a start begins a run that was there",
        (Patch(creation, "_existing", _own_what_is_there),),
    ),
    Mutant(
        "lost-answer-ignored",
        "a worker that lost an answer, or its lease, goes on under its name",
        (Patch(Membership, "begin_anew", _never_begin_anew),),
    ),
    Mutant(
        "gap-ignored",
        "own events are delivered before others' that stand before them",
        (Patch(ActiveRun, "_advance", _ignore_gaps),),
    ),
    Mutant(
        "evicted-while-reading",
        "a run is let go while what woke it is being read",
        (Patch(ActiveRun, "quiet", _evict_while_fetching),),
    ),
    Mutant(
        "applied-too-early",
        "the code gets a result before it is durable",
        (Patch(ActiveRun, "_finish", _apply_before_durable),),
    ),
    Mutant(
        "race-drops-outbox",
        "after a known race nothing of the write is written again",
        (Patch(ActiveRun, "_refused", _drop_after_a_race),),
    ),
    Mutant(
        "clean-up-when-evicted",
        "letting a run go cancels it",
        (Patch(ActiveRun, "drop", _clean_up_when_dropped),),
    ),
    Mutant(
        "due-row-left",
        "a wait is cancelled, and its due row stays",
        (Patch(Outbox, "end_wait", _leave_due_rows),),
    ),
    Mutant("list-not-kept", "the list of runs is not written", (Patch(Outbox, "show", _never_show),)),
    Mutant(
        "once-again",
        "a step that may run at most once is started again",
        (Patch(LocalSteps, "execute", _restart_at_most_once),),
    ),
    Mutant(
        "timer-fires-cancelled",
        "a timer fires without its due row",
        (Patch(timers, "ClearDue", _fire_cancelled_timers),),
    ),
    Mutant(
        "held-anew",
        "a run that is held is replayed, and held again, when something arrives for it",
        (Patch(runs_in_memory, "_is_held", _never_held),),
    ),
    Mutant(
        "lost-start-forgotten",
        "a start whose answer was lost is not looked for",
        (Patch(Embedded, "_start_all", _forget_lost_starts),),
    ),
    Mutant("payload-unguarded", "a payload needs no open hook", (Patch(sending, "NeedKey", _need_no_key),)),
    Mutant("payload-wakes-nobody", "a payload leaves no mark", (Patch(sending, "Wake", _leave_no_mark),)),
    Mutant(
        "any-claim-ends",
        "a queued step's result is taken from whoever comes",
        (Patch(remote, "ClearReady", _end_any_claim),),
    ),
    Mutant("action-anew", "a key may have two results", (Patch(Action, "write", _store_another_result),)),
    Mutant(
        "action-of-another-tenant",
        "a key's result is taken from whatever tenant has one",
        (Patch(Action, "_first", _of_whatever_tenant),),
    ),
    Mutant(
        "failure-committed",
        "what a failed attempt wrote in its transaction is kept",
        (Patch(local, "attempt_in_transaction", _commit_what_failed),),
        storage="sqlite",
    ),
)
ENGINE_MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _ALL}

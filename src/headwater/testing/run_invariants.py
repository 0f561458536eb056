"""What must always be true of the runs of a log, read from outside: the invariants of the design that concern runs.

I3  at most one result per run and step, one end per wait, hook and run; every stream of a run folds legally
I4  the list of runs equals the fold of the log
I5  every unfinished run has an owner, a wake mark, a timer, an open hook, a ready row or a claimed remote step, is
    held, or waits for a child; what is open has its row, and no row is left of what has ended
and, given the code: every run replays from its history without divergence, and asks for nothing that it has not.

`check_runs` reads everything, and expects that nobody writes meanwhile: it is for tests, simulations and drills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from headwater.app.workflows import Workflow
from headwater.errors import HeadwaterError, IllegalEvent, NonDeterminismError
from headwater.events.clock import to_us
from headwater.events.model import type_name
from headwater.log.log import Log
from headwater.log.ownership import EntryRow
from headwater.log.port import DueRow, FenceRow, HeldKey, ReadyRow
from headwater.runs import events as run
from headwater.runs import rows
from headwater.runs.entry import entry_of
from headwater.runs.events import register_run_events
from headwater.runs.history_file import Fact, fact_of
from headwater.runs.protocol import is_legacy
from headwater.runs.state import RUN_FOLD, RunState
from headwater.testing.invariants import InvariantBroken
from headwater.workflows.replay import Replayed

T = TypeVar("T")
Ends = run.RunCompleted | run.RunFailed | run.RunCancelled
Workflows = Mapping[tuple[str, int], Workflow[..., Any]]
_ALL: Final = 1_000_000


@dataclass
class _Run:
    """A run as the log has it, and the rows that stand for it."""

    tenant: str
    id: str
    facts: list[Fact] = field(default_factory=list[Fact])
    state: RunState = field(default_factory=RunState)
    fence: FenceRow | None = None
    entry: EntryRow | None = None
    due: dict[int, DueRow] = field(default_factory=dict[int, DueRow])
    keys: dict[int, HeldKey] = field(default_factory=dict[int, HeldKey])
    ready: dict[int, ReadyRow] = field(default_factory=dict[int, ReadyRow])

    def broken(self, name: str, what: str, **facts: Any) -> InvariantBroken:
        last = [
            f"{f.version} {type_name(type(f.event))} {getattr(f.event, 'call', '')}".strip()
            for f in self.facts[-12:]
        ]
        return InvariantBroken(name, what, run=self.id, **facts, last=last)


async def check_runs(
    log: Log, workflows: Workflows | None = None, *, may_diverge: frozenset[str] = frozenset()
) -> None:
    """Raise `InvariantBroken` for the first thing that is wrong with the runs of a log.

    With `workflows`, every run is replayed, but those of the workflows that `may_diverge`.
    """
    register_run_events(log.registry)
    runs = await _read(log)
    for one in runs.values():
        _check_once(one)
    await _gather_rows(log, runs)
    workers = {worker.id for worker in await log.backend.workers()}
    for one in runs.values():
        if not is_legacy(one.state.spec_version):
            _check_entry(one)
            if one.state.finished:
                _check_nothing_left(one)
            else:
                _check_goes_on(one, runs, workers)
    if workflows is not None:
        for one in runs.values():
            workflow = workflows.get((one.state.workflow, one.state.workflow_version))
            if workflow is not None and workflow.name not in may_diverge:
                await _outside_of_tasks(partial(_check_replay, one, workflow))


async def _read(log: Log) -> dict[tuple[str, str], _Run]:
    runs: dict[tuple[str, str], _Run] = {}
    async for recorded in log.read(stream_types=(rows.STREAM_TYPE,)):
        tenant, id = recorded.tenant, recorded.stream.id
        one = runs.setdefault((tenant, id), _Run(tenant, id))
        one.facts.append(fact_of(recorded))
        try:
            one.state = RUN_FOLD.apply(one.state, recorded)
        except IllegalEvent as error:
            raise one.broken("I3", "a run's stream does not fold", error=str(error)) from error
    return runs


# I3

_ONE_OF: Final[Sequence[tuple[str, ...]]] = (
    ("step_completed", "step_failed"),
    ("step_cancelled",),
    ("wait_completed", "wait_cancelled"),
    ("hook_created", "hook_conflict"),
    ("hook_disposed",),
    ("run_completed", "run_failed", "run_cancelled"),
    ("cancel_requested",),
)


def _check_once(one: _Run) -> None:
    """Each thing ends once, whatever the fold absorbs."""
    closed: set[int] = set()
    queued: set[int] = set()
    given_up: set[int] = set()
    for fact in one.facts:
        if isinstance(fact.event, run.RunContinued):  # calls are numbered anew
            closed, queued, given_up = set(), set(), set()
        if isinstance(fact.event, run.HookReceived) and fact.event.call in closed:
            raise one.broken("I3", "a closed hook took a payload", call=fact.event.call, version=fact.version)
        if isinstance(fact.event, run.HookDisposed):
            closed.add(fact.event.call)
        if isinstance(fact.event, run.StepCreated) and fact.event.queue is not None:
            queued.add(fact.event.call)
        if isinstance(fact.event, run.StepCancelled) and fact.event.call in queued:
            given_up.add(fact.event.call)
        if isinstance(fact.event, run.StepCompleted | run.StepFailed) and fact.event.call in given_up:
            what = "a queued step that was given up has a result"
            raise one.broken("I3", what, call=fact.event.call, version=fact.version)
    for kinds in _ONE_OF:
        seen: dict[tuple[int, int | None], int] = {}
        generation = 1
        for fact in one.facts:
            if isinstance(fact.event, run.RunContinued):
                generation = fact.event.generation
            if type_name(type(fact.event)) in kinds:
                key = (generation, getattr(fact.event, "call", None))
                if key in seen:
                    what = f"more than one {' or '.join(kinds)}"
                    raise one.broken("I3", what, call=key[1], versions=(seen[key], fact.version))
                seen[key] = fact.version


# I4


def _check_entry(one: _Run) -> None:
    wanted = entry_of(one.state)
    there = one.entry
    if there is None or (there.label, there.status, there.data) != (wanted.label, wanted.status, wanted.data):
        raise one.broken("I4", "the list of runs is not the fold of the log", listed=there, folded=wanted)


# I5


async def _gather_rows(log: Log, runs: dict[tuple[str, str], _Run]) -> None:
    backend = log.backend
    for entry in await backend.entries(None, rows.LIST, limit=_ALL):
        _of(runs, entry.tenant, entry.key, entry).entry = entry
    for due in await backend.due(None, _ALL, by_now=False):
        if due.key.startswith("wait/"):
            call, id = rows.call_of_due(due.key)
            _of(runs, due.tenant, id, due).due[call] = due
    for tenant in {tenant for tenant, _ in runs}:
        for key in await backend.keys(tenant, rows.token_key(""), _ALL):
            place = rows.HookPlace.parse(key.holder)
            _of(runs, tenant, place.run, key).keys[place.call] = key
        mine = [rows.fence_key(id) for of, id in runs if of == tenant]
        for start in range(0, len(mine), 100):
            for fence in await backend.fences(tenant, mine[start : start + 100]):
                runs[tenant, rows.run_of_fence(fence.key)].fence = fence
    queues = {step.queue for one in runs.values() for step in one.state.steps.values() if step.queue}
    for queue in sorted(queues):
        for ready in await backend.ready(None, queue, _ALL):
            call, id = rows.call_of_ready(ready.key)
            _of(runs, ready.tenant, id, ready).ready[call] = ready


def _of(runs: Mapping[tuple[str, str], _Run], tenant: str, id: str, row: object) -> _Run:
    one = runs.get((tenant, id))
    if one is None:
        raise InvariantBroken("I5", "a row is there of a run that is not", run=id, row=row)
    return one


def _check_nothing_left(one: _Run) -> None:
    left: list[object] = [*one.due.values(), *one.keys.values()]
    left += [row for row in one.ready.values() if row.holder is None]
    if one.fence is not None:
        left.append(one.fence)
    if left:
        raise one.broken("I5", "rows are left of a run that has ended", status=one.state.status, left=left)


def _check_goes_on(one: _Run, runs: Mapping[tuple[str, str], _Run], workers: set[str]) -> None:
    state, fence = one.state, one.fence
    if fence is None:
        raise one.broken("I5", "a run that has not ended has no fence", status=state.status)
    _check_open(one)
    children = [runs.get((one.tenant, child)) for child in state.open_children]
    something = (
        fence.holder in workers
        or fence.wakes > fence.seen
        or one.due
        or one.keys
        or one.ready
        or state.held is not None
        or any(child is not None and not child.state.finished for child in children)
    )
    if not something:
        raise one.broken("I5", "nothing would ever go on with a run", status=state.status, fence=fence)


def _check_open(one: _Run) -> None:
    """What is open has its row, and each row stands for what is open."""
    state = one.state
    waits = {call: to_us(wait.until) for call, wait in state.waits.items() if wait.status == "waiting"}
    if {call: row.at for call, row in one.due.items()} != waits:
        raise one.broken("I5", "the due rows of a run are not its waits", rows=one.due, waits=waits)
    hooks = {c: rows.token_key(hook.token) for c, hook in state.hooks.items() if hook.status == "open"}
    if {call: row.key for call, row in one.keys.items()} != hooks:
        raise one.broken("I5", "the keys of a run are not its open hooks", rows=one.keys, hooks=hooks)
    queued = {c for c, s in state.steps.items() if s.queue is not None and s.status in {"pending", "running"}}
    if set(one.ready) != queued:
        raise one.broken(
            "I5", "the ready rows of a run are not its queued steps", rows=one.ready, queued=queued
        )


# Replay


def _check_replay(one: _Run, workflow: Workflow[..., Any]) -> None:
    execution = Replayed(workflow, one.id, one.tenant)
    ended, unheard = False, False
    try:
        execution.know(fact.event for fact in one.facts)
        for fact in one.facts:
            if isinstance(fact.event, Ends):
                execution.check_end(fact.event)
                ended = True
                break
            unheard = isinstance(fact.event, run.RunHeld) or (
                unheard and not isinstance(fact.event, run.RunReleased)
            )
            execution.deliver(fact.event, fact.recorded_us)
        if ended and execution.commands and not unheard:
            asked = [str(command) for command in execution.commands]
            raise one.broken("replay", "a replay asks for what the run has not", asked=asked)
    except NonDeterminismError as error:
        raise one.broken(
            "replay", "a run does not replay", workflow=workflow.name, error=str(error)
        ) from error
    except HeadwaterError as error:
        raise one.broken("replay", "a run cannot be replayed", error=repr(error)) from error
    finally:
        execution.evict()


async def _outside_of_tasks(work: Callable[[], T]) -> T:
    """Do something that runs a run's loop: a loop may not be entered from within a task."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def do() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001  the caller's
            done.set_exception(error)

    loop.call_soon(do)
    return await done

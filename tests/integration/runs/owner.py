"""A stand-in for the engine: what a run's owner appends, with the rows that go with it."""

from headwater.events.envelope import NewEvent
from headwater.log.side import Fence, GiveKey, PutReady, SetDue, SideRow, TakeKey
from headwater.log.write import Write
from headwater.runs.creation import NewRun
from headwater.runs.entry import entry_of
from headwater.runs.events import (
    HookCreated,
    HookDisposed,
    RunCancelled,
    RunCompleted,
    RunEvent,
    RunHeld,
    RunStarted,
    StepCreated,
    WaitCreated,
)
from headwater.runs.machines import RunStatus
from headwater.runs.rows import (
    DEFAULT_TENANT,
    HookPlace,
    due_key,
    end_rows,
    fence_key,
    ready_data,
    ready_key,
    run_stream,
    token_key,
)
from headwater.runs.state import RunState
from headwater.runs.store import Runs

STATUS: dict[type[RunEvent], RunStatus] = {
    RunStarted: "running",
    RunHeld: "held",
    RunCompleted: "completed",
    RunCancelled: "cancelled",
}


async def started(runs: Runs, run: str, *events: RunEvent, tenant: str = DEFAULT_TENANT) -> None:
    """A run that its owner has begun, and has taken as far as `events`."""
    await runs.create(NewRun(id=run, workflow="w", tenant=tenant), owner="me")
    await go_on(runs, run, RunStarted(worker="me"), *events, tenant=tenant)


async def go_on(runs: Runs, run: str, *events: RunEvent, tenant: str = DEFAULT_TENANT) -> None:
    """Append as the owner does: under the fence, each event with its rows."""
    fences = await runs.log.backend.fences(tenant, [fence_key(run)])
    for event in events:
        state = await runs.get(run, tenant)
        rows = [Fence(fence_key(run), fences[0].epoch if fences else 1), *_rows(state, event)]
        await runs.log.append(Write(run_stream(run, tenant), [NewEvent(event=event, run_id=run)], rows=rows))


def _rows(state: RunState, event: RunEvent) -> list[SideRow]:
    run = state.run
    status = STATUS.get(type(event))
    match event:
        case HookCreated(call=call, token=token):
            return [TakeKey(token_key(token), str(HookPlace(run, call)))]
        case HookDisposed(call=call):
            return [GiveKey(token_key(state.hooks[call].token), str(HookPlace(run, call)))]
        case WaitCreated(call=call, until=until):
            return [SetDue(due_key(run, call), until)]
        case StepCreated(call=call, queue=str(queue)):
            return [PutReady(queue, ready_key(run, call), ready_data(run, call, 1))]
        case RunCompleted() | RunCancelled():
            return [
                *end_rows(run, state.open_tokens, state.open_waits, state.queued_steps),
                entry_of(state, status),
            ]
        case _:
            return [entry_of(state, status)] if status else []

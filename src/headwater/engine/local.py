"""Steps of runs that are owned here, executed here: their attempts, one after the other, until one has ended them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headwater.app import Step, StepContext
from headwater.engine.actions import Action
from headwater.engine.active import ActiveRun
from headwater.engine.notes import StepNote
from headwater.engine.steps import StepRunner, interrupted
from headwater.engine.transactions import Committed, attempt_in_transaction
from headwater.events.clock import to_us
from headwater.log.log import Log
from headwater.log.side import Fence
from headwater.runs import events as run
from headwater.runs import rows
from headwater.workflows.failures import describe

_GLANCE = 5.0


class LocalSteps:
    """Executes steps for their runs."""

    def __init__(self, log: Log, runner: StepRunner, now_us: Callable[[], int]) -> None:
        self._log, self._runner, self._now_us = log, runner, now_us

    async def execute(self, active: ActiveRun, note: StepNote, step: Step[..., Any]) -> None:
        """See a step to its end."""
        if step.options.at_most_once and note.attempts and not note.begun:
            error = describe(interrupted(note.attempts))
            active.finish(note, run.StepFailed(call=note.call, attempt=note.attempts, error=error))
            return
        action = None
        if note.action is not None:
            action = Action(self._log, active.stream, note.call, note.name, note.action)
            if (stored := await action.stored(note.attempts + 1)) is not None:
                active.attempt(note)
                active.finish(note, stored)
                return
        ended: run.StepCompleted | Committed | Exception
        while True:
            if note.retry_after is not None or self._log.full:
                await self._pause(note)
            if step.options.at_most_once or step.options.transaction:
                await active.attempt_durably(note)
            else:
                active.attempt(note)
            context = _context(active, note, step)
            if step.options.transaction:
                ended = await self._transact(active, note, step, context)
            else:
                ended = await self._runner.attempt(step, note.call, note.input, context)
            if isinstance(ended, Committed):
                active.committed(note)
                return
            if isinstance(ended, run.StepCompleted):
                active.finish(note, ended, None if action is None else action.write(ended))
                return
            verdict = self._runner.judge(step, note.call, note.attempts, note.failures, ended)
            if isinstance(verdict, run.StepFailed):
                active.finish(note, verdict)
                return
            active.retry(note, verdict)

    async def _pause(self, note: StepNote) -> None:
        """Until the time of the next attempt, by a clock that may be corrected meanwhile, and the log has room."""
        while note.retry_after is not None:
            left = (to_us(note.retry_after) - self._now_us()) / 1_000_000
            if left <= 0:
                break
            await asyncio.sleep(min(left, _GLANCE))
        await self._log.room()

    async def _transact(
        self, active: ActiveRun, note: StepNote, step: Step[..., Any], context: StepContext
    ) -> Committed | Exception:
        fence = Fence(rows.fence_key(active.run_id), active.epoch)
        return await attempt_in_transaction(
            self._log, self._runner, step, note.call, note.input, context, active.stream, fence
        )


def _context(active: ActiveRun, note: StepNote, step: Step[..., Any]) -> StepContext:
    run_id, tenant = active.stream.id, active.stream.tenant
    return StepContext(
        run=run_id,
        tenant=tenant,
        step=step.name,
        attempt=note.attempts,
        key=f"{tenant}/{run_id}/{note.call}",
        traceparent=active.span.traceparent if active.span is not None else None,
    )

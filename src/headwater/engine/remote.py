"""Steps in queues: whoever serves the queue executes them, wherever the run's owner is.

Promise. A step in a queue is executed by one worker at a time, and one result of it is applied, whichever worker was
too late, stopped or dead in between.

Why it is right. A queued step is a ready row, claimed in one statement that raises its claim. A result is appended to
the run's stream together with taking that row away under that claim: a worker whose row was freed (it was taken for
dead) or revoked (the workflow gave the step up) is refused, and its result is nowhere. No fence of the run is needed,
so owners come and go meanwhile; the same append wakes them. The attempt's number is the claim, which only rises.

A quick step is one append. One that takes longer says first that it has begun, under the same guard.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, Final

from headwater.app import Headwater, Step, StepContext
from headwater.engine.actions import Action
from headwater.engine.steps import StepRunner, interrupted
from headwater.engine.surely import surely
from headwater.errors import LogClosed, PayloadRefused, RowGone, StepError, Trouble, WrongVersion
from headwater.events.canonical import decode_json, encode_json
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.ownership import HeldReady, TakenReady
from headwater.log.side import ClearReady, NeedReady, PutReady, SideRow, Wake
from headwater.log.write import Write
from headwater.runs import events as run
from headwater.runs import rows
from headwater.workflows.failures import describe

LOGGER: Final = logging.getLogger("headwater.engine")
_SLOW: Final = 0.1


class QueuedSteps:
    """Executes the steps of some queues."""

    def __init__(
        self,
        app: Headwater,
        log: Log,
        queues: Mapping[str, int],
        runner: StepRunner,
        worker: Callable[[], str],
        poke: Callable[[], None],
        random: Random,
    ) -> None:
        self._app, self._log, self._queues, self._runner = app, log, queues, runner
        self._worker, self._poke, self._random = worker, poke, random
        self._running: dict[asyncio.Task[None], TakenReady] = {}
        self._busy: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    async def claim(self) -> bool:
        """Claim and begin as much as there is room for; whether there may be more."""
        room = {queue: most - self._busy[queue] for queue, most in self._queues.items()}
        room = {queue: left for queue, left in room.items() if left > 0}
        if not room:
            return False
        taken = await self._log.backend.take_ready(self._worker(), room)
        for row in taken:
            self._busy[row.queue] += 1
            task = asyncio.get_running_loop().create_task(self._execute(row))
            self._running[task] = row
            task.add_done_callback(self._has_ended)
        return bool(taken)

    def drop(self) -> None:
        """Let everything go; what it was is claimed by others."""
        for task in self._running:
            task.cancel()

    async def stop(self) -> None:
        self.drop()
        if self._running:
            await asyncio.wait(list(self._running))

    async def look_after(self) -> None:
        """Cancel what was revoked or taken from us."""
        running = list(self._running.items())  # what is claimed while we read is not judged by what we read
        if not running:
            return
        held = set(await self._log.backend.held_ready(self._worker()))
        for task, row in running:
            if HeldReady(row.tenant, row.queue, row.key, row.claim) not in held:
                task.cancel()

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        row = self._running.pop(task)
        self._busy[row.queue] -= 1
        self._poke()
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("A step in queue %s could not be executed: %r", row.queue, error, exc_info=error)

    async def _execute(self, row: TakenReady) -> None:
        job = await self._job(row)
        step = self._app.steps.get(job["name"])
        if step is None:
            missing = StepError(
                f"The worker that took it declares no step {job['name']!r}.", type="NotDeclared"
            )
            again = self._runner.put_off(job["call"], row.claim, missing, seconds=5.0)
            await self._end(row, job, [_begun(job, row, self._worker()), again], None)
            return
        begun = _begun(job, row, self._worker())
        action = self._action(row, job)
        if action is not None and (stored := await action.stored(row.claim)) is not None:
            await self._end(row, job, [begun, stored], step)
            return
        said = step.options.at_most_once
        if said and not await self._say_begun(row, begun):
            return
        attempt = asyncio.get_running_loop().create_task(self._attempt(row, job, step))
        try:
            if not said and not (await asyncio.wait([attempt], timeout=_SLOW))[0]:
                said = await self._say_begun(row, begun)
                if not said:
                    return
            ended = await attempt
        finally:
            if not attempt.done():
                attempt.cancel()
                with suppress(asyncio.CancelledError):
                    await attempt
        events: list[Event] = [] if said else [begun]
        if isinstance(ended, Exception):
            verdict = self._runner.judge(step, job["call"], row.claim, int(job.get("failures", 0)), ended)
            await self._end(row, job, [*events, verdict], step)
        elif action is None:
            await self._end(row, job, [*events, ended], step)
        else:
            try:
                await self._end(row, job, [*events, ended], step, action.write(ended))
            except WrongVersion:  # another run was first, with the same key: its result counts
                stored = await action.stored(row.claim)
                await self._end(row, job, [*events, stored or ended], step)

    async def _job(self, row: TakenReady) -> dict[str, Any]:
        """What is to be done: what the row says, and what it leaves to the run's stream."""
        job: dict[str, Any] = decode_json(row.data)
        if "name" not in job or "input" not in job:
            created = await surely(lambda: self._read_created(row, job))
            job |= {"name": created.name, "input": created.input}
            if created.action is not None:
                job["action"] = created.action
        return job

    def _action(self, row: TakenReady, job: dict[str, Any]) -> Action | None:
        if "action" not in job:
            return None
        stream = rows.run_stream(job["run"], row.tenant)
        return Action(self._log, stream, job["call"], job["name"], job["action"])

    async def _attempt(
        self, row: TakenReady, job: dict[str, Any], step: Step[..., Any]
    ) -> run.StepCompleted | Exception:
        if step.options.at_most_once and row.claim > 1:
            return interrupted(row.claim - 1)
        context = StepContext(
            run=job["run"],
            tenant=row.tenant,
            step=step.name,
            attempt=row.claim,
            key=f"{row.tenant}/{job['run']}/{job['call']}",
            traceparent=job.get("traceparent"),
        )
        return await self._runner.attempt(step, job["call"], job["input"], context)

    async def _read_created(self, row: TakenReady, job: dict[str, Any]) -> run.StepCreated:
        """What the run's stream says of a step whose row does not say it all."""
        async for recorded in self._log.stream(rows.run_stream(job["run"], row.tenant)):
            if recorded.type == "step_created":
                event = recorded.event
                if isinstance(event, run.StepCreated) and event.call == job["call"]:
                    return event
        raise StepError(f"Run {job['run']!r} has no call {job['call']}.")

    async def _say_begun(self, row: TakenReady, begun: run.StepStarted) -> bool:
        """Record that an attempt has begun; False if it is not ours any more."""
        stream = rows.run_stream(rows.call_of_ready(row.key)[1], row.tenant)
        return await self._append(Write(stream, [begun], rows=[NeedReady(row.queue, row.key, row.claim)]))

    async def _end(
        self,
        row: TakenReady,
        job: dict[str, Any],
        events: list[Event],
        step: Step[..., Any] | None,
        *more: Write,
    ) -> None:
        stream = rows.run_stream(job["run"], row.tenant)
        last = events[-1]
        if isinstance(last, run.StepRetrying):
            failures = int(job.get("failures", 0)) + (step is not None)
            said = {name: value for name, value in job.items() if name != "input"}
            data = encode_json({**said, "failures": failures}, f"step {job['name']!r}")
            priority = step.options.priority if step else 0
            side: list[SideRow] = [PutReady(row.queue, row.key, data, priority, last.retry_after, row.claim)]
        else:
            side = [
                ClearReady(row.queue, row.key, claim=row.claim),
                Wake(rows.fence_key(job["run"])),
            ]
        try:
            await self._append(Write(stream, events, rows=side), *more)
        except PayloadRefused as refused:
            failed = run.StepFailed(call=job["call"], attempt=row.claim, error=describe(refused))
            await self._append(Write(stream, [*events[:-1], failed], rows=side))

    async def _append(self, *writes: Write) -> bool:
        """Append until the outcome is known: nobody else may say how this claim ended. False: it is not ours."""
        pause = 0.05
        while True:
            try:
                await self._log.append(*writes)
                return True
            except RowGone:
                return False
            except LogClosed:
                raise
            except Trouble as trouble:
                LOGGER.warning("A step's result waits to be recorded: %s", trouble)
                await asyncio.sleep(pause * (0.5 + self._random.random()))
                pause = min(pause * 2, 2.0)


def _begun(job: dict[str, Any], row: TakenReady, worker: str) -> run.StepStarted:
    return run.StepStarted(call=job["call"], attempt=row.claim, worker=worker)

"""The engine of one worker: it claims runs, keeps them going, and lets go of them.

Promise. Every run whose workflow is declared here goes on, as long as one worker lives: claimed by one at a time,
woken by what comes from outside, taken over when its worker dies. There is no coordinator: workers meet in the
database.

Why it is right.
- What is to be done stands in the database: a run that nobody owns has an unseen wake mark, one that somebody owns is
  fenced by their epoch, and what a dead worker owned is freed by whoever sweeps next (see `log.ownership`).
- Hints, own appends and a poll make the dispatcher look; it acts on nothing but what it reads then. Losing every hint
  costs a poll.
- A run is let go only if no mark has come since the last that was seen, in one conditional statement.
- The worker's own death is not its business: if it finds itself swept away (it was stopped past its lease), it drops
  all that it holds and begins anew under another name. Until it notices, its writes are refused by their epochs.
- Each loop here is restarted if it fails; `progress` tells when each last went round, so that health can be judged by
  what happens, and not by a process that is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any, Final
from uuid import uuid4

import orjson

from headwater.app import Headwater, Step, StepContext, Workflow
from headwater.engine.active import ActiveRun
from headwater.engine.notes import StepNote
from headwater.engine.options import EngineOptions
from headwater.engine.place import here, is_gone
from headwater.engine.steps import StepRunner, interrupted
from headwater.engine.timers import Timers
from headwater.errors import FenceLost, HeadwaterError, LogClosed
from headwater.events.clock import Clock, SystemClock, to_us
from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event
from headwater.log.log import Log
from headwater.log.ownership import Taken, WorkerRow
from headwater.log.write import Write
from headwater.runs import events as run
from headwater.runs import rows
from headwater.workflows.execution import Execution
from headwater.workflows.failures import describe

LOGGER: Final = logging.getLogger("headwater.engine")
_PAGE: Final = 100
_LINGER: Final = 0.005
_ALONE: Final = 3
Ended = Callable[[str, str, Event], None]


class Engine:
    """What runs in a worker."""

    def __init__(
        self,
        app: Headwater,
        log: Log,
        options: EngineOptions | None = None,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        place: Callable[[], str] = here,
        ended: Ended | None = None,
    ) -> None:
        self.app, self.log, self.options = app, log, options or EngineOptions()
        self.worker = ""
        self.runs: dict[tuple[str, str], ActiveRun] = {}
        self.progress: dict[str, float] = {}
        self._clock, self._random, self._place = clock or SystemClock(), random or Random(), place
        self._ended = ended
        self._offset_us = 0
        self._runner = StepRunner(self._thread_pool, self._random, self.now_us)
        self._timers = Timers(log, self.now_us, self._has_fired, min(1.0, self.options.lease / 4))
        self._labels = {rows.label_of(w.name, w.version): w for w in app.workflows.values()}
        self._attention = asyncio.Event()
        self._lingering: list[ActiveRun] = []
        self._to_fetch: dict[tuple[str, str], ActiveRun] = {}
        self._fetch_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._passing: set[asyncio.Task[None]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._stopping = False

    # Life

    async def start(self) -> None:
        """Enrol, and begin to work."""
        await self._enrol()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "heartbeat": self._heartbeat,
            "dispatch": self._dispatch,
        }
        if self.options.workflows and self._labels:
            loops |= {"listen": self._listen, "fetch": self._fetch, "timers": self._timers.run}
        for name, loop in loops.items():
            self._tasks.append(asyncio.create_task(self._keep(name, loop), name=f"headwater-{name}"))

    async def stop(self) -> None:
        """Stop claiming, let what is under way end within the grace time, hand back the rest."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self.options.grace
        while loop.time() < until and any(active.busy for active in self.runs.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for active in list(self.runs.values()):
            active.drop()
        self.runs.clear()
        for task in [*self._tasks, *self._passing]:
            task.cancel()
        if self._tasks or self._passing:
            await asyncio.wait([*self._tasks, *self._passing])
        try:
            await self.log.backend.sweep(left=[self.worker])
        except HeadwaterError as error:
            LOGGER.warning("Could not hand back what this worker holds; its lease will: %s", error)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def poke(self) -> None:
        """Something may be there to do."""
        self._attention.set()

    def serves(self, workflow: str, version: int) -> bool:
        return not self._stopping and rows.label_of(workflow, version) in self._labels

    def has_room(self) -> bool:
        return len(self.runs) < self.options.runs

    def begin(self, stream: Stream, created: run.RunCreated, recorded_us: int) -> None:
        """Take up a run that this process has created as its own."""
        key = (stream.tenant, stream.id)
        workflow = self._labels[rows.label_of(created.workflow, created.workflow_version)]
        active = ActiveRun(self, stream, Execution(workflow, stream.id, stream.tenant), 1, 0)
        self.runs[key] = active
        asyncio.get_running_loop().call_soon(active.begin, created, recorded_us)

    def adopt(self, stream: Stream) -> None:
        """A run may have been created as ours, but who created it cannot tell: take it up if it was."""
        self._pass(self._adopt(stream))

    async def _adopt(self, stream: Stream) -> None:
        fence = rows.fence_key(stream.id)
        for there in await self.log.backend.fences(stream.tenant, [fence]):
            if there.holder == self.worker and (stream.tenant, stream.id) not in self.runs:
                await self._claim_anew(stream.tenant, fence)

    # Loops

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something for ever; begin again when it fails."""
        pause = 0.05
        while True:
            self.progress[name] = asyncio.get_running_loop().time()
            try:
                await work()
                pause = 0.05
            except LogClosed:
                return
            except Exception as error:
                LOGGER.warning(
                    "The %s loop failed and begins again: %s",
                    name,
                    error,
                    exc_info=not isinstance(error, HeadwaterError),
                )
                await asyncio.sleep(pause * (0.5 + self._random.random()))
                pause = min(pause * 2, 2.0)

    async def _enrol(self) -> None:
        self.worker = f"w-{uuid4().hex[:12]}"
        said = {"app": self.app.name, "labels": sorted(self._labels), "queues": sorted(self.options.queues)}
        lease = int(self.options.lease * 1_000_000)
        await self.log.backend.enrol(WorkerRow(self.worker, self._place(), lease, orjson.dumps(said)))
        self._said = orjson.dumps(said)
        self._offset_us = await self.log.backend.now_us() - self._clock.now_us()

    async def _heartbeat(self) -> None:
        """Renew the lease, and free what the dead have left."""
        asked = self._clock.now_us()
        now = await self.log.backend.beat(self.worker, self._said)
        if now is None:
            LOGGER.warning(
                "This worker was taken for dead (it was stopped for longer than its lease); it begins anew."
            )
            for active in list(self.runs.values()):
                active.drop()
            self.runs.clear()
            await self._enrol()
        else:
            self._offset_us = now - (asked + self._clock.now_us()) // 2
        swept = await self.log.backend.sweep()
        if swept.fences or swept.ready:
            LOGGER.info("Freed %d runs and %d steps of workers that are gone.", swept.fences, swept.ready)
            self.poke()
        until = asyncio.get_running_loop().time() + self.options.lease / 3
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.5))
            await self._bury_neighbours()
        self._evict_idle()

    async def _bury_neighbours(self) -> None:
        """Free what processes of this host held that are not there any more."""
        gone = [w.id for w in await self.log.backend.workers() if w.id != self.worker and is_gone(w.place)]
        if gone:
            await self.log.backend.sweep(dead=gone)
            self.poke()

    async def _listen(self) -> None:
        """Be attentive when other processes have appended."""
        seen = 0
        while True:
            seen = await self.log.others(seen)
            self.poke()

    async def _dispatch(self) -> None:
        """Look for what is to be done."""
        self._attention.clear()
        if self.options.workflows and self._labels:
            woken = await self.log.backend.woken(self.worker)
            strangers: list[Taken] = []
            for mark in woken:
                active = self.runs.get((mark.tenant, rows.run_of_fence(mark.key)))
                if active is None or active.epoch != mark.epoch:
                    strangers.append(Taken(mark.tenant, mark.key, "", mark.epoch, mark.wakes, 0, 0))
                else:
                    active.wakes = mark.wakes
                    self.fetch(active)
            await self._load(strangers)
            if not self._stopping:
                await self._claim()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._attention.wait(), self.options.poll)

    async def _claim(self) -> None:
        room = self.options.runs - len(self.runs)
        if room < self.options.runs // 10:
            self._evict_idle(room=True)
            room = self.options.runs - len(self.runs)
        if room <= 0:
            return
        labels = list(self._labels)
        taken = await self.log.backend.take(self.worker, labels, min(room, _PAGE))
        if not any(active.suspect for active in self.runs.values()):
            taken = [
                *taken,
                *await self.log.backend.take(self.worker, labels, min(room, _PAGE), suspects=True),
            ]
        if taken:
            self._attention.set()  # there may be more
            await self._load(taken)

    async def _load(self, taken: Sequence[Taken]) -> None:
        """Take up runs from their histories."""
        if not taken:
            return
        streams = [rows.run_stream(rows.run_of_fence(t.key), t.tenant) for t in taken]
        histories = await self._histories(streams)
        for claimed, stream, history in zip(taken, streams, histories, strict=True):
            key = (stream.tenant, stream.id)
            if (there := self.runs.pop(key, None)) is not None:
                there.drop()
            created = history[0].event if history else None
            if not isinstance(created, run.RunCreated):
                continue
            workflow = self._labels.get(rows.label_of(created.workflow, created.workflow_version))
            if workflow is None:
                continue
            self._take_up(claimed, stream, workflow, history)
            await asyncio.sleep(0)

    def _take_up(
        self, claimed: Taken, stream: Stream, workflow: Workflow[..., Any], history: list[Recorded]
    ) -> None:
        execution = Execution(workflow, stream.id, stream.tenant)
        active = ActiveRun(self, stream, execution, claimed.epoch, claimed.wakes)
        active.suspect = claimed.trial > 0
        self.runs[stream.tenant, stream.id] = active

        def begin() -> None:
            if claimed.deaths >= _ALONE:
                message = (
                    f"It was alone in a worker that died, {claimed.deaths} times. Mend it, and resume it."
                )
                active.refuse(history, run.RunHeld(reason="quarantined", message=message))
            else:
                active.load(history)

        asyncio.get_running_loop().call_soon(begin)

    async def _histories(self, streams: Sequence[Stream], after: Sequence[int] = ()) -> list[list[Recorded]]:
        """The events of several streams, a round trip for a hundred of each."""
        found: list[list[Recorded]] = [[] for _ in streams]
        left = {i: (stream, (after[i] if after else 0) + 1) for i, stream in enumerate(streams)}
        while left:
            pages = await self.log.read_streams(list(left.values()), _PAGE)
            for i, page in zip(list(left), pages, strict=True):
                found[i] += page
                if len(page) < _PAGE:
                    del left[i]
                else:
                    left[i] = (streams[i], page[-1].version + 1)
        return found

    async def _fetch(self) -> None:
        """Read on in the streams of runs that have missed something."""
        await self._fetch_wanted.wait()
        self._fetch_wanted.clear()
        while self._to_fetch:
            wanted, self._to_fetch = self._to_fetch, {}
            actives = [active for active in wanted.values() if not active.gone]
            pages = await self._histories([a.stream for a in actives], [a.version for a in actives])
            for active, page in zip(actives, pages, strict=True):
                events = [(r.version, r.event, r.row[10]) for r in page]
                asyncio.get_running_loop().call_soon(active.offer, events)

    def _evict_idle(self, *, room: bool = False) -> None:
        """Let go of runs that only wait: those that have for long, or a tenth of them to make room."""
        now = asyncio.get_running_loop().time()
        idle = [a for a in self.runs.values() if a.quiet and (room or now - a.idle_since > self.options.idle)]
        if room:
            idle = sorted(idle, key=lambda active: active.idle_since)[: max(1, self.options.runs // 10)]
        for active in idle:
            self.let_go(active)

    def let_go(self, active: ActiveRun) -> None:
        """Leave memory, and let go of the run unless something has come for it."""
        if self.runs.pop((active.stream.tenant, active.run_id), None) is active:
            active.drop()
            self._pass(self._release(active))

    async def _release(self, active: ActiveRun) -> None:
        key = rows.fence_key(active.run_id)
        if not await self.log.backend.release(active.stream.tenant, key, active.epoch, active.wakes):
            self.poke()  # it was woken meanwhile: it is ours still, and taken up as such

    # What a run tells (see `active.Host`)

    def now_us(self) -> int:
        """The database's time, as well as this worker knows it."""
        return self._clock.now_us() + self._offset_us

    def start_step(self, active: ActiveRun, note: StepNote, step: Step[..., Any]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._execute(active, note, step))

    def linger(self, active: ActiveRun) -> None:
        if not self._lingering:
            asyncio.get_running_loop().call_later(_LINGER, self._flush_lingering)
        self._lingering.append(active)

    def _flush_lingering(self) -> None:
        lingering, self._lingering = self._lingering, []
        for active in lingering:
            if not active.gone:
                active.flush()

    def fetch(self, active: ActiveRun) -> None:
        self._to_fetch[active.stream.tenant, active.run_id] = active
        self._fetch_wanted.set()

    def watch_wait(self, active: ActiveRun, call: int, until_us: int) -> None:
        self._timers.watch(until_us)

    def is_quiet(self, active: ActiveRun) -> None:
        active.idle_since = asyncio.get_running_loop().time()

    def has_ended(self, active: ActiveRun, event: Event) -> None:
        self.runs.pop((active.stream.tenant, active.run_id), None)
        if self._ended is not None:
            self._ended(active.stream.tenant, active.run_id, event)

    def has_lost(self, active: ActiveRun, error: BaseException | None) -> None:
        key = (active.stream.tenant, active.run_id)
        if self.runs.get(key) is active:
            del self.runs[key]
        active.drop()
        if error is None:
            self._pass(self._release(active))
        elif not isinstance(error, FenceLost | LogClosed):
            LOGGER.warning("Run %s leaves memory and is taken up anew: %s", active.run_id, error)
            self._pass(self._reclaim(active))

    async def _reclaim(self, active: ActiveRun) -> None:
        """Own the run under a new epoch, so that what is still on its way of the old one is refused."""
        await asyncio.sleep(0.05 * (0.5 + self._random.random()))
        await self._claim_anew(active.stream.tenant, rows.fence_key(active.run_id))

    async def _claim_anew(self, tenant: str, fence: str) -> None:
        for claimed in await self.log.backend.claim(tenant, [fence], self.worker):
            await self._load([Taken(tenant, fence, "", claimed.epoch, claimed.wakes, 0, 0)])

    def store_large(self, active: ActiveRun, writes: list[Write], done: Callable[[Any], None]) -> None:
        async def store() -> None:
            try:
                pending = await self.log.submit(*writes)
            except HeadwaterError as error:
                if not active.gone:
                    active.gone = True
                    self.has_lost(active, error)
                return
            pending.future.add_done_callback(done)
            self.log.start()

        self._pass(store())

    def _has_fired(self, tenant: str, run_id: str, events: list[tuple[int, Event, int]]) -> None:
        active = self.runs.get((tenant, run_id))
        if active is not None:
            asyncio.get_running_loop().call_soon(active.offer, events)

    # Steps

    async def _execute(self, active: ActiveRun, note: StepNote, step: Step[..., Any]) -> None:
        """Attempts of a step of a run that is owned here, until it ends."""
        if step.options.at_most_once and not note.begun:
            failure = run.StepFailed(
                call=note.call, attempt=note.attempts, error=describe(interrupted(note.attempts))
            )
            active.finish(note, failure)
            return
        while True:
            if note.retry_after is not None:
                await asyncio.sleep(max(0, to_us(note.retry_after) - self.now_us()) / 1_000_000)
            if not step.options.at_most_once:
                active.attempt(note)
            ended = await self._attempt(active, note, step)
            if ended is None:
                return
            if isinstance(ended, run.StepCompleted):
                active.finish(note, ended)
                return
            verdict = self._runner.judge(step, note.call, note.attempts, note.failures, ended)
            if isinstance(verdict, run.StepFailed):
                active.finish(note, verdict)
                return
            active.retry(note, verdict)

    async def _attempt(
        self, active: ActiveRun, note: StepNote, step: Step[..., Any]
    ) -> run.StepCompleted | Exception | None:
        stream = active.stream
        context = StepContext(
            run=stream.id,
            tenant=stream.tenant,
            step=step.name,
            attempt=note.attempts,
            key=f"{stream.tenant}/{stream.id}/{note.call}",
        )
        return await self._runner.attempt(step, note.input, context)

    def _thread_pool(self) -> Executor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.options.threads, thread_name_prefix="headwater-step")
        return self._threads

    def _pass(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something once, in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._passing.add(task)
        task.add_done_callback(self._has_passed)

    def _has_passed(self, task: asyncio.Task[None]) -> None:
        self._passing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.warning("Something could not be done, and will be found by a sweep: %s", error)

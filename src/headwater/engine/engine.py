"""The engine of one worker: it claims runs, keeps them going, and lets go of them.

Promise. Every run whose workflow is declared here goes on, as long as one worker lives: claimed by one at a time,
woken by what comes from outside, taken over when its worker dies. There is no coordinator: workers meet in the
database.

Why it is right.
- What is to be done stands in the database: a run that nobody owns has an unseen wake mark, one that somebody owns is
  fenced by their epoch, and what a dead worker owned is freed by whoever sweeps next (see `log.ownership`).
- Hints, own appends and a poll make the dispatcher look; it acts on nothing but what it reads then. Losing every hint
  costs a poll.
- Each time that a run is taken up it is under an epoch of its own, claimed before its history is read. So of two that
  were taken up here by mistake, only the later can write, and it has read what the earlier wrote.
- A run is let go only if no mark has come since the last that its owner has looked at (see `letting_go`).
- No tenant keeps another's runs out (see `shares`), and nothing is claimed or begun while too much waits to be written.
- The worker's own death is not its business: if it finds itself swept away (it was stopped past its lease), it drops
  all that it holds and begins anew under another name. Until it notices, its writes are refused by their epochs.
- Each loop here is restarted if it fails; `progress` tells when each last went round, so that `health` can be judged by
  what happens, and not by a process that is there.

It is long because taking up, waking, evicting and letting go are one argument about one set of runs; what can be
said without that set (steps, timers, queues, membership, shares) has files of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from random import Random, SystemRandom
from typing import Any, Final
from uuid import uuid4

from headwater.app import Headwater, Step, Workflow
from headwater.engine.active import ActiveRun
from headwater.engine.counting import Counts
from headwater.engine.letting_go import LettingGo
from headwater.engine.lingering import Lingering
from headwater.engine.local import LocalSteps
from headwater.engine.membership import Membership
from headwater.engine.notes import StepNote
from headwater.engine.options import EngineOptions
from headwater.engine.place import here
from headwater.engine.remote import QueuedSteps
from headwater.engine.shares import next_share, reserve
from headwater.engine.steps import StepRunner
from headwater.engine.timers import Timers
from headwater.errors import FenceLost, HeadwaterError, LogClosed, Trouble
from headwater.events.clock import Clock, SteadyClock
from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event, type_name
from headwater.log.log import Log
from headwater.log.ownership import Taken
from headwater.log.write import Write
from headwater.runs import events as run
from headwater.runs import rows
from headwater.telemetry import tracing
from headwater.telemetry.loops import ROUND, Loops, told
from headwater.workflows.execution import Execution

LOGGER: Final = logging.getLogger("headwater.engine")
_PAGE: Final = 100
_ALONE: Final = 3
_RARELY: Final = 20
Ended = Callable[[str, str, Event], None]
Alone = Callable[[str, str], Awaitable[object]]
"""Executes one run (tenant, id) in a process of its own, until it waits or has ended, or the process has."""


def _new_name() -> str:
    return f"w-{uuid4().hex[:12]}"


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
        name: Callable[[], str] = _new_name,
        ended: Ended | None = None,
        alone: Alone | None = None,
    ) -> None:
        self.app, self.log = app, log
        self.options = options = options or EngineOptions()
        self.runs: dict[tuple[str, str], ActiveRun] = {}
        self._random = random or SystemRandom()
        self._loops = Loops(LOGGER, self._random)
        self._ended, self._alone = ended, alone
        self._labels = {rows.label_of(w.name, w.version): w for w in app.workflows.values()}
        self._executes = options.workflows and bool(self._labels)
        queues = _queues_of(app, options)
        self._members = Membership(
            log,
            lease=options.lease,
            says={"app": app.name, "labels": sorted(self._labels), "queues": sorted(queues)},
            name=name,
            place=place,
            clock=clock or SteadyClock(),
            freed=self._have_freed,
            buried=self._drop_all,
        )
        self.counts = Counts()
        self._runner = StepRunner(self._thread_pool, self._random, self.now_us, self.counts)
        self._local = LocalSteps(log, self._runner, self.now_us)
        self._queued = QueuedSteps(
            app, log, queues, self._runner, lambda: self.worker, self.poke, self._random
        )
        self._timers = Timers(log, self.now_us, self._has_fired, min(1.0, options.lease / 4))
        self._attention = asyncio.Event()
        self._seen = 0
        self._lingering = Lingering()
        self._to_fetch: dict[tuple[str, str], ActiveRun] = {}
        self._fetch_wanted = asyncio.Event()
        self._letting_go = LettingGo(log, self._pass, self.adopt)
        self._passing: set[asyncio.Task[None]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._trials = 0
        self._suspects_at = self._reserve_at = 0.0
        self._coming = self._claiming = 0
        self._stopping = False

    @property
    def progress(self) -> Mapping[str, float]:
        """When each loop last went round, in the event loop's time (see `health`)."""
        return self._loops.progress

    @property
    def failing(self) -> Mapping[str, str]:
        """The loops that failed the last time, and of what."""
        return self._loops.failing

    @property
    def worker(self) -> str:
        """The name of this worker; another one after it was taken for dead."""
        return self._members.worker

    def now_us(self) -> int:
        """The database's time, as well as this worker knows it."""
        return self._members.now_us()

    # Life

    async def start(self) -> None:
        """Enrol, and begin to work."""
        await self._members.enrol()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "heartbeat": self._beat,
            "dispatch": self._dispatch,
            "listen": self._listen,
        }
        if self._executes:
            loops |= {"fetch": self._fetch, "timers": self._timers.look}
        for name, work in loops.items():
            self._loops.begin(name, work, f"The {name} loop failed and begins again")

    async def stop(self) -> None:
        """Stop claiming, let what is under way end within the grace time, hand back the rest.

        Whoever comes next takes up what is handed back, so that code which does not fit a run is found out soon.
        """
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self.options.grace
        while loop.time() < until and self._is_busy():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self._drop_all()
        self._loops.progress.clear()
        tasks = [*self._loops.tasks, *self._passing]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._queued.stop()
        await self._members.leave()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def poke(self) -> None:
        """Something may be there to do."""
        self._attention.set()

    def _have_freed(self) -> None:
        self._suspects_at = 0.0
        self.poke()

    def serves(self, workflow: str, version: int) -> bool:
        """Whether runs of a workflow are executed here."""
        return self._executes and not self._stopping and rows.label_of(workflow, version) in self._labels

    @contextmanager
    def room_for(self, runs: int) -> Generator[bool]:
        """Keep places for runs that are about to be created as ours; whether there are so many."""
        fits = runs <= self._free() - reserve(self.options.runs)
        coming = runs if fits else 0
        self._coming += coming
        try:
            yield fits
        finally:
            self._coming -= coming

    def _free(self) -> int:
        return self.options.runs - len(self.runs) - self._coming - self._claiming

    def _execution(self, workflow: Workflow[..., Any], stream: Stream) -> Execution:
        return Execution(workflow, stream.id, stream.tenant, self._random)

    def begin(
        self, stream: Stream, created: run.RunCreated, recorded_us: int, traceparent: str | None = None
    ) -> None:
        """Take up a run that this process has created as its own."""
        if (stream.tenant, stream.id) in self.runs:
            return  # it was woken before we heard of it, and claimed anew
        workflow = self._labels[rows.label_of(created.workflow, created.workflow_version)]
        active = ActiveRun(self, stream, self._execution(workflow, stream), 1, 0)
        active.span = _span(active, traceparent)
        self.runs[stream.tenant, stream.id] = active
        asyncio.get_running_loop().call_soon(active.begin, created, recorded_us)

    def adopt(self, stream: Stream) -> None:
        """A run may be ours that is not in memory: take it up if it is."""
        self._pass(self._adopt(stream))

    async def _adopt(self, stream: Stream) -> None:
        fence = rows.fence_key(stream.id)
        for there in await self.log.backend.fences(stream.tenant, [fence]):
            active = self.runs.get((stream.tenant, stream.id))
            if there.holder != self.worker:
                continue
            if active is None or active.epoch != there.epoch:
                await self._claim_anew(stream.tenant, fence)
            else:  # it was taken up meanwhile, maybe from a history that ends before what woke it
                active.hear(there.wakes)

    async def work_alone(self, tenant: str, run_id: str) -> None:
        """Take one suspect over, and work on it until it has ended or only waits. If it gets on, it is cleared."""
        fence = rows.fence_key(run_id)
        for claimed in await self.log.backend.claim(tenant, [fence], self.worker):
            await self._load([Taken(tenant, fence, "", claimed.epoch, claimed.wakes, 1, 0)])
        await asyncio.sleep(0)
        while (active := self.runs.get((tenant, run_id))) is not None:
            if active.quiet:
                self.runs.pop((tenant, run_id))
                active.drop()
                self._letting_go.add(active)
            await asyncio.sleep(0.01)
        while self._letting_go.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def _is_busy(self) -> bool:
        return self._queued.busy or self._letting_go.busy or any(active.busy for active in self.runs.values())

    def _drop_all(self) -> None:
        for active in list(self.runs.values()):
            active.drop()
        self.runs.clear()
        self._queued.drop()

    # Loops

    async def _beat(self) -> None:
        if await self._members.beat():
            await self._queued.look_after()
            self._evict_idle()

    async def _listen(self) -> None:
        """Be attentive when other processes have appended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ROUND):
                self._seen = await self.log.others(self._seen)
                self.poke()

    async def _dispatch(self) -> None:
        """Look for what is to be done, when told to or after a while."""
        self._attention.clear()
        try:
            await self._look()
        except Trouble:
            # An answer may be lost: this worker may own what it has not heard of, or miss marks that count as seen.
            if not self._stopping:
                await self._members.begin_anew()
            raise
        await told(self._attention, self.options.poll)

    async def _look(self) -> None:
        if self._executes:
            try:
                await self._look_for_runs()
            finally:
                self._claiming = 0
        if not self._stopping and not self.log.full and await self._queued.claim():
            self.poke()

    async def _look_for_runs(self) -> None:
        marks, taken = await asyncio.gather(self.log.backend.woken(self.worker), self._claim())
        for mark in marks:
            stream = rows.run_stream(rows.run_of_fence(mark.key), mark.tenant)
            active = self.runs.get((stream.tenant, stream.id))
            if active is None or active.epoch != mark.epoch:
                self.adopt(stream)
            else:
                active.hear(mark.wakes)
        if taken:
            await self._load(taken)

    async def _claim(self) -> list[Taken]:
        """Claim runs: now and then those that a dead worker has left, and new ones, and woken ones."""
        if self._stopping or self.log.full:
            return []
        if self._free() <= reserve(self.options.runs):
            self._evict_idle(room=True)
        share = next_share(self.options.runs, self.runs, self._coming)
        most, labels = min(share.most, _PAGE), list(self._labels)
        now = asyncio.get_running_loop().time()
        if most <= 0 or (share.kept and now < self._reserve_at):
            return []
        self._claiming = most  # until they are in memory, or will not be
        take = partial(self.log.backend.take, self.worker, labels, without=share.without)
        taken: list[Taken] = []
        if now >= self._suspects_at and not self._trials and not any(a.suspect for a in self.runs.values()):
            taken += await take(most, suspects=True)
            if not taken:
                self._suspects_at = now + self.options.poll
        if len(taken) < most:
            taken += await take(most - len(taken))
        self.counts.claimed.add(by=len(taken))
        if share.kept:  # what was passed over may be much
            took = asyncio.get_running_loop().time() - now
            self._reserve_at = now + max(self.options.poll, _RARELY * took)
        elif len(taken) >= most:
            self.poke()  # there may be more
        return taken

    # Taking up and letting go

    async def _load(self, taken: Sequence[Taken]) -> None:
        """Take up runs from their histories."""
        streams = [rows.run_stream(rows.run_of_fence(t.key), t.tenant) for t in taken]
        histories = await self._histories(streams)
        for claimed, stream, history in zip(taken, streams, histories, strict=True):
            self._loops.went("dispatch")
            there = self.runs.get((stream.tenant, stream.id))
            if there is not None and there.epoch >= claimed.epoch:
                continue  # claimed again meanwhile: what we have read may be older than what that one has written
            if there is not None:
                del self.runs[stream.tenant, stream.id]
                there.drop()
            created = history[0].event if history else None
            if not isinstance(created, run.RunCreated):
                continue
            workflow = self._labels.get(rows.label_of(created.workflow, created.workflow_version))
            if workflow is None:
                continue
            if claimed.trial == 1 and 0 < claimed.deaths < _ALONE and self._alone is not None:
                self._pass(self._try_alone(self._alone, stream))
            else:
                self._take_up(claimed, stream, workflow, history)
                await asyncio.sleep(0)

    def _take_up(
        self, claimed: Taken, stream: Stream, workflow: Workflow[..., Any], history: list[Recorded]
    ) -> None:
        execution = self._execution(workflow, stream)
        active = ActiveRun(self, stream, execution, claimed.epoch, claimed.wakes)
        active.suspect = claimed.trial > 0
        active.span = _span(active, history[0].traceparent)
        self.runs[stream.tenant, stream.id] = active

        def begin() -> None:
            if active.gone:
                return
            if claimed.deaths >= _ALONE:
                said = f"It was alone in a worker that died, {claimed.deaths} times. Mend it, and resume it."
                active.refuse(history, run.RunHeld(reason="quarantined", message=said))
            else:
                active.load(history)

        asyncio.get_running_loop().call_soon(begin)

    async def _try_alone(self, alone: Alone, stream: Stream) -> None:
        """Have a suspect executed in a process of its own, which claims it. If none could begin, it is ours still."""
        self._trials += 1
        try:
            await alone(stream.tenant, stream.id)
        finally:
            self._trials -= 1
            self._suspects_at = 0.0
        await self._adopt(stream)
        self.poke()

    async def _histories(
        self, streams: Sequence[Stream], after: Sequence[int] | None = None
    ) -> list[list[Recorded]]:
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
        await told(self._fetch_wanted, ROUND)
        self._fetch_wanted.clear()
        while self._to_fetch:
            wanted = [active for active in self._to_fetch.values() if not active.gone]
            self._to_fetch = {}
            try:
                pages = await self._histories([a.stream for a in wanted], [a.version for a in wanted])
            except BaseException:
                for active in wanted:
                    active.fetching -= 1
                    self.fetch(active)  # their marks count as seen: nobody else will look
                raise
            for active, page in zip(wanted, pages, strict=True):
                events = [(r.version, r.event, r.row[10]) for r in page]
                asyncio.get_running_loop().call_soon(active.take_in, events)

    def _evict_idle(self, *, room: bool = False) -> None:
        """Let go of runs that only wait: those that have for long, or a tenth of them to make room."""
        now = asyncio.get_running_loop().time()
        idle = [a for a in self.runs.values() if a.quiet and (room or now - a.idle_since > self.options.idle)]
        if room:
            idle = sorted(idle, key=lambda active: active.idle_since)[: max(1, self.options.runs // 10)]
        for active in idle:
            self._let_go_if_idle(active)

    def let_go(self, active: ActiveRun) -> None:
        """Leave memory, and let go of the run unless something has come for it."""
        if self.runs.pop((active.stream.tenant, active.run_id), None) is active:
            active.drop()
            self._letting_go.add(active)

    async def _claim_anew(self, tenant: str, fence: str) -> None:
        """Own a run of ours under a new epoch, so that what is still on its way of the old one is refused."""
        for claimed in await self.log.backend.claim(tenant, [fence], self.worker):
            await self._load([Taken(tenant, fence, "", claimed.epoch, claimed.wakes, 0, 0)])

    # What a run tells (see `active.Host`)

    def start_step(self, active: ActiveRun, note: StepNote, step: Step[..., Any]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._local.execute(active, note, step))

    def linger(self, active: ActiveRun) -> None:
        """Send what a run has to say in a moment, if nothing that is awaited has taken it along by then."""
        self._lingering.add(active)

    def fetch(self, active: ActiveRun) -> None:
        key = (active.stream.tenant, active.run_id)
        if self._to_fetch.get(key) is not active:
            self._to_fetch[key] = active
            active.fetching += 1
        self._fetch_wanted.set()

    def watch_wait(self, active: ActiveRun, call: int, until_us: int) -> None:
        self._timers.watch(until_us)

    def is_quiet(self, active: ActiveRun) -> None:
        loop = asyncio.get_running_loop()
        active.idle_since = loop.time()
        if (
            self.options.idle <= 0 or active.suspect
        ):  # who only waits must not be in the room when somebody else dies
            loop.call_soon(self._let_go_if_idle, active)

    def _let_go_if_idle(self, active: ActiveRun) -> None:
        if active.quiet and (active.stream.tenant, active.run_id) not in self._to_fetch:
            self.let_go(active)

    def has_ended(self, active: ActiveRun, event: Event) -> None:
        self.runs.pop((active.stream.tenant, active.run_id), None)
        if active.span is not None:
            active.span.say(headwater_ended=type_name(type(event)))
            active.span.end(
                type_name(type(event)) if isinstance(event, run.RunFailed | run.RunHeld) else None
            )
            active.span = None
        self.counts.ended.add(active.execution.workflow.name, type_name(type(event)).removeprefix("run_"))
        if self._ended is not None:
            self._ended(active.stream.tenant, active.run_id, event)

    def has_lost(self, active: ActiveRun, error: BaseException | None) -> None:
        key = (active.stream.tenant, active.run_id)
        if self.runs.get(key) is active:
            del self.runs[key]
        active.drop()
        if error is None:
            self._letting_go.add(active)
        elif not isinstance(error, FenceLost | LogClosed):
            LOGGER.warning("Run %s leaves memory and is taken up anew: %s", active.run_id, error)
            self._pass(self._reclaim(active))

    async def _reclaim(self, active: ActiveRun) -> None:
        """Take a run up anew, as long as it takes: nobody else will while this worker lives."""
        pause = 0.05
        while not self._stopping:
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            try:
                await self._adopt(active.stream)
            except Trouble:
                pause = min(pause * 2, 2.0)
            else:
                return

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

    # In the background

    def _thread_pool(self) -> Executor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.options.threads, thread_name_prefix="headwater-step")
        return self._threads

    def _pass(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something once."""
        task = asyncio.get_running_loop().create_task(work)
        self._passing.add(task)
        task.add_done_callback(self._has_passed)

    def _has_passed(self, task: asyncio.Task[None]) -> None:
        self._passing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._stopping:
            LOGGER.warning("This worker may have lost track of a run, and begins anew: %s", error)
            self._pass(self._members.begin_anew())


def _queues_of(app: Headwater, options: EngineOptions) -> dict[str, int]:
    if options.queues is not None:
        return dict(options.queues)
    declared = {step.options.queue for step in app.steps.values()}
    return dict.fromkeys(sorted(queue for queue in declared if queue), options.concurrency)


def _span(active: ActiveRun, traceparent: str | None) -> tracing.Span | None:
    """A span for the run while it is in memory, below what has started it; None while traces are off."""
    if not tracing.is_on():
        return None
    stream, workflow = active.stream, active.execution.workflow
    return tracing.begin(
        f"run {workflow.name}",
        traceparent,
        kind="consumer",
        headwater_run=stream.id,
        headwater_tenant=stream.tenant,
        headwater_workflow=f"{workflow.name}@{workflow.version}",
    )

"""A run in the memory of its owner: events in, code, writes out.

Promise. The run's code is given every event of its stream once, in the stream's order, whoever wrote it, and goes on
only from what is durable. What the code asks for is written in the order in which it asked, under the epoch that this
owner has claimed.

Why it is right.
- *One write at a time.* What the code and its steps have to say while a write is under way is the next write. So the
  run's writes are judged in order, each against what the earlier ones left, and nothing overtakes.
- *Fenced.* Each write names the epoch. Another claim raises it, so whoever has lost the run is refused, whatever its
  clock says; the run is then dropped here, and its steps are cancelled.
- *In the log's order.* The versions that a write was given say where it stands. If there is a gap before it, somebody
  else's events (a payload, a timer, a cancellation) are in between: they are fetched, and delivered first.
- *Known races are absorbed.* A wait that had fired when it was cancelled: `wait_cancelled` is left out, and the log's
  `wait_completed` stands. A token that is held: `hook_conflict` is written in place of `hook_created`. Nothing of a
  refused write is in the log, so what is left of it is written again as a new one.
- *Anything else that is refused or unknown* makes the run leave memory; it is claimed anew, which raises its epoch, and
  goes on from what the log holds. A write of ours that is still on its way is refused then.

A step that is quick costs one write: `step_created` and `step_started` wait in the outbox for a moment, and its result
takes them along. What hands out a hook's token must not be faster than the hook: no step starts while a
`hook_created` is not durable.

It is long because it is one state machine under one order: each method may only be read together with the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from headwater.app.steps import Step
from headwater.engine.notes import Notes, StepNote
from headwater.engine.outbox import Outbox
from headwater.errors import HeadwaterError, KeyTaken, NonDeterminismError, PayloadRefused, RowGone
from headwater.events.clock import from_us, to_us
from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event, type_name
from headwater.log.log import Log
from headwater.log.port import Placed
from headwater.log.side import Fence, Trust
from headwater.log.write import Write
from headwater.runs import events as run
from headwater.runs import rows
from headwater.telemetry.tracing import Span
from headwater.workflows.commands import Command, EndHook, EndStep, EndWait, Mark, NewHook, NewStep, NewWait
from headwater.workflows.execution import Execution


class Host(Protocol):
    """What a run needs of the engine."""

    log: Log

    @property
    def worker(self) -> str: ...
    def start_step(self, active: ActiveRun, note: StepNote, step: Step[..., Any]) -> asyncio.Task[None]: ...
    def linger(self, active: ActiveRun) -> None: ...
    def fetch(self, active: ActiveRun) -> None: ...
    def watch_wait(self, active: ActiveRun, call: int, until_us: int) -> None: ...
    def is_quiet(self, active: ActiveRun) -> None: ...
    def has_ended(self, active: ActiveRun, event: Event) -> None: ...
    def has_lost(self, active: ActiveRun, error: BaseException | None) -> None: ...
    def now_us(self) -> int: ...
    def poke(self) -> None: ...
    def store_large(self, active: ActiveRun, writes: list[Write], done: Callable[[Any], None]) -> None: ...


class ActiveRun:
    """One run that this process owns."""

    def __init__(self, host: Host, stream: Stream, execution: Execution, epoch: int, wakes: int) -> None:
        self.host, self.stream, self.execution = host, stream, execution
        self.epoch, self.wakes = epoch, wakes
        self.version = 0
        self.notes = Notes()
        self.suspect = False
        self.idle_since = 0.0
        self.lingers = False
        self.gone = False
        self.held = False
        """It is being held, and this owner looks at nothing that comes any more: who takes it up next does."""
        self.span: Span | None = None
        self.fetching = 0
        """How often its stream is being read on."""
        self._inbox: dict[int, tuple[Event, int, bool]] = {}
        """Events by version, with their time, and whether they are our own."""
        self._asked: deque[Command] = deque()
        """What the code has asked for and is not in the outbox yet."""
        self._outbox = Outbox(stream)
        self._flying: Outbox | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._waiting: list[StepNote] = []
        """Steps that start when what is in the outbox is durable."""

    @property
    def run_id(self) -> str:
        return self.stream.id

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way here: the run waits for something from outside."""
        return self.version > 0 and not (
            self.fetching
            or self._tasks
            or self._flying
            or self._outbox.events
            or self._inbox
            or self._waiting
            or self._asked
        )

    @property
    def busy(self) -> bool:
        """Whether something is under way that a worker which stops should let end."""
        return bool(self._tasks or self._flying)

    # Events in

    def load(self, history: list[Recorded]) -> None:
        """Take up a run from its history."""
        if _is_held(history):
            self._stay_held(history)
            return

        def replay() -> None:
            events = [recorded.event for recorded in history]
            self.execution.know(events)
            for recorded, event in zip(history, events, strict=True):
                self._deliver(event, recorded.version, recorded.row[10])

        suspect, self.suspect = self.suspect, False  # what others have recorded clears nobody
        if self._guarded(replay):
            self.suspect = suspect
            self._take_up()

    def refuse(self, history: list[Recorded], held: run.RunHeld) -> None:
        """Hold a run without running its code."""
        if _is_held(history):
            self._stay_held(history)
            return
        for recorded in history:
            self.notes.take(recorded.event)
        self.version = len(history)
        if self.notes.ended:
            self._let_go()
        else:
            self.hold(held)

    def _stay_held(self, history: list[Recorded]) -> None:
        """No code runs, whatever has arrived, until somebody releases it. To cancel it needs none."""
        self.version = len(history)
        asked: run.CancelRequested | None = None
        try:
            for recorded in history:
                event = recorded.event
                self.notes.take(event)
                asked = event if isinstance(event, run.CancelRequested) else asked
        except HeadwaterError:  # what it holds cannot be read, which may be why it is held
            asked = None
        if asked is None or self.notes.ended:
            self._let_go()
        else:
            self.notes.ended = True
            self._end(run.RunCancelled(reason=asked.reason))
            self._send()

    def _let_go(self) -> None:
        """Leave memory with nothing to do: others may take it."""
        self.gone = True
        self.host.has_lost(self, None)

    def begin(self, created: run.RunCreated, recorded_us: int) -> None:
        """Take up a run that was created just now."""
        self._deliver(created, 1, recorded_us)
        self._take_up()

    def offer(self, events: list[tuple[int, Event, int]]) -> None:
        """Events that are in the log: version, event, time."""
        for version, event, recorded_us in events:
            if version > self.version and version not in self._inbox:
                self._inbox[version] = (event, recorded_us, False)
        self._advance()

    def hear(self, wakes: int) -> None:
        """There is something in the stream. A mark that came too late for this owner must not count as heard."""
        if not self.held:
            self.wakes = max(self.wakes, wakes)
            self.host.fetch(self)

    def take_in(self, events: list[tuple[int, Event, int]]) -> None:
        """What was read on in the stream."""
        self.fetching -= 1
        self.offer(events)

    def _advance(self) -> None:
        def deliver() -> None:
            while found := self._inbox.pop(self.version + 1, None):
                event, recorded_us, own = found
                if own and isinstance(event, _SAID):
                    self.version += 1
                else:
                    self._deliver(event, self.version + 1, recorded_us)

        if self.held:
            self._send()
        elif not self.gone and self._guarded(deliver):
            if self._inbox:
                self.host.fetch(self)
            self._go_on()

    def _guarded(self, deliver: Callable[[], None]) -> bool:
        """Deliver; a run whose code cannot go on from its history is held."""
        try:
            deliver()
        except NonDeterminismError as error:
            self.hold(run.RunHeld(reason="diverged", message=str(error)))
        except Exception as error:  # noqa: BLE001  the code at hand cannot read what the run holds
            self.hold(run.RunHeld(reason="stuck", message=f"{type(error).__name__}: {error}"))
        else:
            return True
        return False

    def _deliver(self, event: Event, version: int, recorded_us: int) -> None:
        self.version = version
        if self.notes.take(event) and self.suspect:
            self.suspect = False
            self._outbox.add_row(Trust(rows.fence_key(self.run_id)))
        if not self.notes.ended:
            self.execution.deliver(event, recorded_us)

    def _take_up(self) -> None:
        """After the history: do what it says is still to be done."""
        notes = self.notes
        if notes.ended:
            self._let_go()
            return
        if not notes.started and self.execution.outcome is None:
            started = run.RunStarted(worker=self.host.worker, at=from_us(self.host.now_us()))
            self._outbox.add(started, urgent=False)
            self._outbox.show(notes, "running")
            if not self._guarded(lambda: self._deliver(started, self.version, 0)):
                return
        for call, until in notes.waits.items():
            self.host.watch_wait(self, call, to_us(until))
        for step in list(notes.steps.values()):
            if step.queue is None:
                self._start(step)
        self._go_on()

    def _go_on(self) -> None:
        """Turn what the code has asked for into writes, and send what can be sent."""
        commands, self.execution.commands = self.execution.commands, []
        self._asked += commands
        while self._asked:
            if self._takes_back(self._asked[0]):
                if self._flying is not None:
                    return  # what follows is for the write after the next
                self.flush()
            self._record(self._asked.popleft())
        if self.execution.outcome is not None and not self.notes.ended:
            self.notes.ended = True
            self._end(self.execution.outcome.event)
        self._send()

    # Writes out

    def _takes_back(self, command: Command) -> bool:
        """Whether a token is asked for that the outbox gives back: one write cannot do both."""
        return isinstance(command, NewHook) and self._outbox.gives_back(command.token)

    def _record(self, command: Command) -> None:  # noqa: PLR0912 - one for each kind
        out = self._outbox
        match command:
            case NewStep(call, step, given, action):
                note = StepNote(call, step.name, given, step.options.queue, action)
                self.notes.steps[call] = note
                created = run.StepCreated(
                    call=call, name=step.name, input=given, queue=note.queue, action=action
                )
                out.add(created, urgent=note.queue is not None)
                if note.queue is None:
                    self._start(note)
                else:
                    out.put_ready(note, step, self.span.traceparent if self.span is not None else None)
            case EndStep(call):
                if (step_note := self.notes.steps.pop(call, None)) and not self._has_result(call):
                    out.add(run.StepCancelled(call=call), urgent=False)
                    if step_note.queue is not None:
                        out.revoke(step_note)
                if task := self._tasks.pop(call, None):
                    task.cancel()
            case NewWait(call, until_us):
                self.notes.waits[call] = from_us(until_us)
                out.add_wait(call, until_us)
            case EndWait(call):
                self.notes.waits.pop(call, None)
                out.end_wait(call)
            case NewHook(call, token, name):
                self.notes.hooks[call] = token
                out.add_hook(call, token, name)
            case EndHook(call):
                if call in self.notes.hooks:
                    out.end_hook(call, self.notes.hooks.pop(call))
            case Mark(_, event, emitted, stream):
                out.mark(event, emitted, stream)
                self.notes.take(event)
                if not isinstance(event, run.EventEmitted):
                    out.show(self.notes, "running")

    def _start(self, note: StepNote) -> None:
        """Start a step here, as soon as it may."""
        step = self.execution.step_of(note.call)
        if step is None:
            return  # nobody waits for it any more
        if self._outbox.hooks or (self._flying and self._flying.hooks):
            self._waiting.append(note)
        else:
            self._tasks[note.call] = self.host.start_step(self, note, step)

    def _begin(self, note: StepNote) -> run.StepStarted:
        note.attempts += 1
        note.begun, note.retry_after = True, None
        return run.StepStarted(call=note.call, attempt=note.attempts, worker=self.host.worker)

    def attempt(self, note: StepNote) -> None:
        """An attempt of a step begins."""
        self._outbox.add(self._begin(note), urgent=False)
        self.host.linger(self)

    async def attempt_durably(self, note: StepNote) -> None:
        """An attempt of a step begins, once that is in the log."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox.add(self._begin(note))
        self._outbox.told.append(told)
        self._send()
        await told

    def retry(self, note: StepNote, event: run.StepRetrying) -> None:
        """An attempt has failed; there will be another."""
        note.failures += 1
        note.retry_after = event.retry_after
        self._outbox.add(event, urgent=False)
        self.host.linger(self)

    def finish(
        self, note: StepNote, event: run.StepCompleted | run.StepFailed, extra: Write | None = None
    ) -> None:
        """A step of ours has ended."""
        self._tasks.pop(note.call, None)
        if not self.gone and note.call in self.notes.steps:
            self._finish(note, event, extra)
            self._send()

    def committed(self, note: StepNote) -> None:
        """A step of ours has ended, and its result is in the log already."""
        self._tasks.pop(note.call, None)
        if not self.gone:
            self.host.fetch(self)

    def _finish(
        self, note: StepNote, event: run.StepCompleted | run.StepFailed, extra: Write | None = None
    ) -> None:
        self._outbox.add(event)
        if extra is not None:
            self._outbox.others.append(extra)

    def _has_result(self, call: int) -> bool:
        """Whether a result of the step is on its way into the log."""
        written = [*self._outbox.events, *(self._flying.events if self._flying else [])]
        return any(isinstance(e, run.StepCompleted | run.StepFailed) and e.call == call for e in written)

    def _end(self, event: run.RunCompleted | run.RunFailed | run.RunCancelled) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._waiting.clear()
        self._outbox.end(self.notes, event)

    def hold(self, event: run.RunHeld) -> None:
        """Stop, and say why: a person has to look."""
        self._stop()
        self.held = True
        self._outbox = Outbox(self.stream)
        self._outbox.add(event)
        self._outbox.show(self.notes, "held", event.message)
        self._outbox.holds = True
        self._send()

    def drop(self) -> None:
        """Leave memory, without a trace."""
        self.gone = True
        if self.span is not None:
            self.span.end()
            self.span = None
        self._stop()

    def _stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._waiting.clear()
        self._asked.clear()
        self.execution.evict()

    def flush(self) -> None:
        """Send what has lingered."""
        self._outbox.urgent = self._outbox.urgent or bool(self._outbox.events)
        self._send()

    def _send(self) -> None:
        if self._flying is not None or self.gone:
            return
        out = self._outbox
        if not out.events:
            if self._waiting:
                self._start_waiting()
            elif self.quiet:
                self.host.is_quiet(self)
            return
        if not out.urgent:
            self.host.linger(self)
            return
        self._flying, self._outbox = out, Outbox(self.stream)
        self._write(out)

    def _write(self, out: Outbox) -> None:
        fence = Fence(rows.fence_key(self.run_id), self.epoch)
        writes = [Write(self.stream, out.events, expect=fence, rows=out.rows), *out.others]
        if not out.events:  # what was left of it has been settled by a race
            self._flying = None
            self._go_on()
            return
        try:
            pending = self.host.log.post(*writes)
        except PayloadRefused as refused:
            if out.leave_out_poison():
                self._write(out)
            else:  # what the code asks for is checked when it asks; this is for what was forgotten
                self._flying = None
                self.hold(run.RunHeld(reason="stuck", message=str(refused)))
            return
        if pending is None:
            self.host.store_large(self, writes, self._written)
        else:
            pending.future.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[Placed]) -> None:
        out = self._flying
        if self.gone or out is None or future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._refused(out, error)
            return
        self._flying = None
        placed = future.result()
        for told in out.told:
            if not told.done():
                told.set_result(None)
        if out.holds:
            self._let_go()
            return
        for call, until_us in out.waits.items():
            self.host.watch_wait(self, call, until_us)
        if out.queues:
            self.host.poke()
        if out.ends is not None:
            self.gone = True
            self.execution.evict()
            self.host.has_ended(self, out.ends)
            return
        if placed.recorded_at and not any(placed.known):
            for version, event in zip(placed.versions, out.events, strict=False):
                self._inbox[version] = (event, placed.recorded_at, True)
        else:
            self.host.fetch(self)
        self._start_waiting()
        self._advance()

    def _start_waiting(self) -> None:
        if self._outbox.hooks:
            return
        waiting, self._waiting = self._waiting, []
        for note in waiting:
            step = self.execution.step_of(note.call)
            if step is not None and note.call in self.notes.steps:
                self._tasks[note.call] = self.host.start_step(self, note, step)

    def _refused(self, out: Outbox, error: BaseException) -> None:
        match error:
            case KeyTaken(key=key, holder=holder) if out.conflict(key, holder):
                self._write(out)
            case RowGone(kind="due", key=key) if out.wait_had_fired(key):
                self._write(out)
            case RowGone(kind="ready", key=key) if out.had_ended(key):
                self._write(out)
            case _:
                self.gone = True
                self.host.has_lost(self, error)


def _is_held(history: list[Recorded]) -> bool:
    """Told by types alone: a run may be held because its events cannot be read."""
    said = next((r.type for r in reversed(history) if r.type in {_HELD, _RELEASED}), None)
    return said == _HELD


_HELD: Final = type_name(run.RunHeld)
_RELEASED: Final = type_name(run.RunReleased)
_SAID: Final = (
    run.RunStarted,
    run.RunStateChanged,
    run.AttributesSet,
    run.EventEmitted,
    run.StepCreated,
    run.StepStarted,
    run.StepRetrying,
    run.StepCancelled,
    run.WaitCreated,
    run.WaitCancelled,
    run.HookCreated,
    run.HookDisposed,
)
"""What the owner says itself, and has noted when it said it."""

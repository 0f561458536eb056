"""One run's code, driven by its events: the same on the first time and on every replay.

Promise. `deliver` is given the events of the run's stream one by one, in order. What the code asks for in the turn that
follows is either in the history already, and then it must be the same, or it is a new command. A mismatch raises
`NonDeterminismError` at once, out of the turn; the code does not go on.

Why it is right.
- A call gets its number when the code first advances it. The code is a function of the events (see `loop`), so the n-th
  call of a replay is the n-th call of the first time, unless the code has changed.
- What a turn asks for is recorded in one append, in order. So the history holds the calls 1..m without a gap, and a
  recorded call that was not asked for before its event is reached was never asked for by this code.
- The start is delivered before it is written, so a cancellation may stand before it: it is delivered right after it.
- A result is delivered where it stands in the log, never earlier. The owner delivers what it wrote itself in the
  same way (see `engine.active`), as it was stored: a replay sees no other value than the first time did.
- What ended a call (a result, a cancellation, a timer that had fired meanwhile) is known for the whole history before
  the first event is delivered. So code that gives up a call whose end is recorded further on asks for nothing.

Letting a run go marks it dead before its coroutines are closed: whatever clean-up code then attempts raises
`RunEvicted`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from random import Random, SystemRandom
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from headwater.app.steps import Step
from headwater.app.workflows import Workflow
from headwater.errors import (
    HookConflictError,
    NonDeterminismError,
    PayloadRefused,
    RunEvicted,
)
from headwater.events.canonical import encode_event
from headwater.events.clock import from_us, to_us
from headwater.events.envelope import Stream
from headwater.events.model import Event, type_name
from headwater.runs import events as run
from headwater.workflows.calls import RunHook, StepCall
from headwater.workflows.commands import Command, EndHook, EndStep, EndWait, Mark, NewHook, NewStep, NewWait
from headwater.workflows.failures import describe, rebuild
from headwater.workflows.loop import RunLoop, Timer
from headwater.workflows.matching import is_same, line_of_code, say, words

T = TypeVar("T")
_PATIENCE: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the code ended."""

    event: run.RunCompleted | run.RunFailed | run.RunCancelled


class Execution:
    """The code of one run. It is the run that `app.current` hands to calls of steps."""

    def __init__(
        self,
        workflow: Workflow[..., Any],
        run_id: str,
        tenant: str = "default",
        chance: Random | None = None,
    ) -> None:
        self.workflow, self.run_id, self.tenant = workflow, run_id, tenant
        self.loop: RunLoop = cast(Any, RunLoop)(self)  # a run's loop has no sockets, and says so when asked
        self.commands: list[Command] = []
        self.outcome: Outcome | None = None
        self._chance = chance or SystemRandom()
        self._calls = 0
        self._recorded: dict[int, Event] = {}
        self._ended: set[int] = set()
        self._steps: dict[int, tuple[asyncio.Future[Any], Step[..., Any]]] = {}
        self._waits: dict[int, Timer] = {}
        self._hooks: dict[int, RunHook[Any]] = {}
        self._data: dict[str, Any] = {}
        self._input: Any = None
        self._root: asyncio.Task[Any] | None = None
        self._cancelled: run.CancelRequested | None = None
        self._ending = False
        self._evictions = self._cancelled_us = 0
        self._begins = False
        self._known = self._delivered = self._said_last = 0

    @cached_property
    def random(self) -> Random:
        return Random(f"{self.tenant}/{self.run_id}")

    @cached_property
    def _ids(self) -> Random:
        return Random(f"ids {self.tenant}/{self.run_id}")

    # What the engine tells

    def know(self, events: Iterable[Event]) -> None:
        """Events that are in the log and will be delivered."""
        for event in events:
            self._known += 1
            match event:
                case (
                    run.StepCreated() | run.WaitCreated() | run.HookCreated() | run.HookConflict()
                    | run.RunStateChanged() | run.AttributesSet() | run.EventEmitted()
                ):  # fmt: skip
                    self._recorded[event.call] = event
                    self._said_last = self._known
                case (
                    run.StepCompleted() | run.StepFailed() | run.StepCancelled() | run.WaitCompleted()
                    | run.WaitCancelled() | run.HookDisposed()
                ):  # fmt: skip
                    self._ended.add(event.call)
                case run.RunStarted():
                    self._begins = True
                case _:
                    pass

    def deliver(self, event: Event, recorded_us: int) -> None:
        """The next event of the stream. New commands and the outcome stand in their attributes afterwards."""
        self._delivered += 1
        if isinstance(event, run.CancelRequested):
            self._cancelled_us = self._cancelled_us or recorded_us
        give = self._reaction(event)
        if give is None:
            return
        self.loop.replaying = self._delivered < self._said_last
        if isinstance(event, run.RunStarted) and event.at is not None:
            recorded_us = to_us(event.at)
        self.loop.now_us = max(self.loop.now_us, recorded_us)
        self._turn(give)
        if isinstance(event, run.RunStarted) and self._cancelled is not None and self._root is not None:
            self.loop.now_us = max(self.loop.now_us, self._cancelled_us)
            self._turn(self._root.cancel)
        if self._root is not None and self._root.done():
            self._end()

    def step_of(self, call: int) -> Step[..., Any] | None:
        """The step that the code waits for under a number."""
        waiting = self._steps.get(call)
        return waiting[1] if waiting else None

    def evict(self) -> None:
        """Let the code go, without a trace."""
        self.loop.kill()
        self.commands.clear()

    def _reaction(self, event: Event) -> Callable[[], object] | None:  # noqa: PLR0911, PLR0912 - one for each kind
        match event:
            case run.StepCompleted(call=call):  # the commonest first
                if waiting := self._steps.pop(call, None):
                    future, step = waiting
                    return lambda: _resolve(future, step.signature.result.load, event.output)
            case run.RunCreated():
                self._input = event.input
            case run.RunStarted():
                return self._start if self._root is None else None
            case run.CancelRequested():
                self._cancelled = self._cancelled or event
                if self._root is None:
                    if not self._begins:
                        self.outcome = Outcome(run.RunCancelled(reason=event.reason))
                elif not self._ending:
                    return self._root.cancel
            case run.StepFailed(call=call):
                if waiting := self._steps.pop(call, None):
                    future, error = waiting[0], rebuild(event.error)
                    return lambda: _reject(future, error)
            case run.WaitCompleted(call=call):
                if timer := self._waits.pop(call, None):
                    return lambda: self.loop.fire(timer)
            case run.HookReceived(call=call):
                if hook := self._hooks.get(call):
                    return partial(hook.receive, event.payload)
            case run.HookConflict(call=call):
                self._check_asked(event, call)
                if hook := self._hooks.pop(call, None):
                    return partial(hook.fail, HookConflictError(event.token, event.holder))
            case (
                run.StepCreated() | run.WaitCreated() | run.HookCreated() | run.RunStateChanged()
                | run.AttributesSet() | run.EventEmitted()
            ):  # fmt: skip
                self._check_asked(event, event.call)
            case _:
                pass
        return None

    def _check_asked(self, event: Event, call: int) -> None:
        if call > self._calls:
            raise NonDeterminismError(call, say(event), "nothing", f"after {self._calls} calls")

    # Turns

    def _turn(self, give: Callable[[], object]) -> None:
        self.loop.turn(give)
        failure = self.loop.failure
        if failure is not None:
            raise failure
        self._keep_timers()

    def _start(self) -> None:
        args, kwargs = self.workflow.signature.load(self._input)
        self._root = self.loop.create_task(
            self._main(args, kwargs), name=f"{self.workflow.name}:{self.run_id}", context=Context()
        )

    async def _main(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        async with asyncio.timeout(self.workflow.timeout):
            return await self.workflow.function(*args, **kwargs)

    def _keep_timers(self) -> None:
        """Number the timers that are still pending, and let go of those that were cancelled."""
        for timer in self.loop.cancelled:
            call = timer.call or 0
            if self._waits.pop(call, None) and call not in self._ended:
                self.commands.append(EndWait(call))
        self.loop.cancelled.clear()
        if len(self.loop.timers) == len(self._waits):
            return
        for timer in list(self.loop.timers.values()):
            if timer.call is None:
                call, recorded = self._issue(run.WaitCreated, "a wait")
                timer.call = call
                self._waits[call] = timer
                if recorded is None:
                    self.commands.append(NewWait(call, round(timer.when() * 1_000_000)))

    def _end(self) -> None:
        """The root is done: end what it left running as `asyncio.run` does, then say how it ended."""
        root = self._root
        if root is None or self.outcome is not None:
            return
        if not self._ending:
            self._ending = True
            if self.loop.tasks() or self.loop.generators.left():
                self._turn(self._end_the_rest)
        if not self.loop.tasks():
            self.outcome = Outcome(self._say_outcome(root))

    def _end_the_rest(self) -> None:
        for task in self.loop.tasks():
            task.cancel()
        for generator in self.loop.generators.left():
            _ = self.loop.create_task(generator.aclose())

    def _say_outcome(self, root: asyncio.Task[Any]) -> run.RunCompleted | run.RunFailed | run.RunCancelled:
        if root.cancelled():
            return run.RunCancelled(reason=self._cancelled.reason if self._cancelled else None)
        error = root.exception()
        if error is not None:
            return run.RunFailed(error=describe(error))
        try:
            output = run.RunCompleted(output=self.workflow.signature.result.dump(root.result()))
            encode_event(output)
        except PayloadRefused as refused:
            return run.RunFailed(error=describe(refused))
        return output

    # What the code asks (see `app.current`)

    def now(self) -> datetime:
        return from_us(self.loop.now_us)

    def uuid(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)

    def step(
        self, step: Step[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], action: str | None
    ) -> Coroutine[Any, Any, T]:
        return StepCall(self, step, args, kwargs, action)

    def hook(self, payload: type[T], token: str | None) -> RunHook[T]:
        return RunHook(self, payload, token)

    def set_data(self, name: str, value: Any, actor: str | None) -> None:
        before, self._data[name] = self._data.get(name), value
        call, recorded = self._issue(run.RunStateChanged, name)
        if recorded is None:
            said = {"call": call, "name": name, "from": before, "to": value, "actor": actor}
            event = run.RunStateChanged.model_validate(said)
            encode_event(event)
            self.commands.append(Mark(call, event))

    def set_attributes(self, attributes: dict[str, str]) -> None:
        call, recorded = self._issue(run.AttributesSet, "attributes")
        if recorded is None:
            self.commands.append(Mark(call, run.AttributesSet(call=call, attributes=attributes)))

    def emit(self, event: Event, stream: Stream | None) -> None:
        name = type_name(type(event))
        call, recorded = self._issue(run.EventEmitted, name)
        if recorded is None:
            target = stream and f"{stream.type}/{stream.id}"
            note = run.EventEmitted(call=call, name=name, data=event.model_dump(mode="json"), stream=target)
            encode_event(note)
            self.commands.append(Mark(call, note, event, stream))

    # What calls ask

    def issue_step(self, asked: StepCall[Any]) -> tuple[int, asyncio.Future[Any]]:
        step = asked.step
        call, recorded = self._issue(run.StepCreated, step.name, asked)
        if recorded is None:  # a refused call keeps its number: on a replay it is refused under the same one
            plain = step.signature.dump(asked.args, asked.kwargs)
            self.commands.append(NewStep(call, step, plain, asked.action))
        future = self.loop.create_future()
        self._steps[call] = (future, step)
        return call, future

    def abandon_step(self, call: int) -> None:
        if self._steps.pop(call, None) and call not in self._ended and not self.loop.dead:
            self.commands.append(EndStep(call))

    def issue_hook(self, hook: RunHook[Any], token: str | None) -> tuple[int, str]:
        token = token or self._token()
        call, recorded = self._issue(run.HookCreated, token)
        self._hooks[call] = hook
        if recorded is None:
            self.commands.append(NewHook(call, token, ""))
        return call, token

    def _token(self) -> str:
        """One that nobody can guess, who knows all but the history: true chance at first, then what is recorded."""
        recorded = self._recorded.get(self._calls + 1)
        if isinstance(recorded, run.HookCreated | run.HookConflict):
            return recorded.token
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def close_hook(self, call: int) -> None:
        if self._hooks.pop(call, None) and call not in self._ended and not self.loop.dead:
            self.commands.append(EndHook(call))

    def is_pestered(self) -> bool:
        """Whether the code of a run that was let go asks again and again."""
        self._evictions += 1
        return self._evictions > _PATIENCE

    def _issue(
        self, kind: type[Event], name: str, asked: StepCall[Any] | None = None
    ) -> tuple[int, Event | None]:
        """The next number, and what the history holds under it."""
        if self.loop.dead:
            raise RunEvicted
        if self.loop.failure is not None:
            raise self.loop.failure
        call = self._calls + 1
        recorded = self._recorded.pop(call, None)
        if recorded is not None and not is_same(recorded, kind, name):
            error = NonDeterminismError(call, say(recorded), words(kind, name), line_of_code(asked))
            self.loop.failure = error
            raise error
        self._calls = call
        return call, recorded


def _reject(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _resolve(future: asyncio.Future[Any], load: Callable[[Any], Any], output: Any) -> None:
    if future.done():
        return
    try:
        result = load(output)
    except PayloadRefused as error:
        future.set_exception(error)
    else:
        future.set_result(result)

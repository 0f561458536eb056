"""An owner of one run without an engine: it drives an `Execution` by hand, and keeps what an owner would write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from headwater.app import Step, Workflow
from headwater.events.clock import from_us
from headwater.events.model import Event
from headwater.runs import events as run
from headwater.workflows.commands import Command, EndHook, EndStep, EndWait, Mark, NewHook, NewStep, NewWait
from headwater.workflows.execution import Execution
from headwater.workflows.failures import describe

START = 1_700_000_000_000_000
SECOND = 1_000_000
Choice = Callable[[Sequence[Event]], Event]


@dataclass
class Turn:
    """An event that was delivered, and what the code asked for then."""

    event: Event
    at: int
    commands: list[Command] = field(default_factory=list)

    def events(self) -> list[Event]:
        """What stands in the history for this turn."""
        return [self.event, *(recorded(command) for command in self.commands)]

    def say(self) -> str:
        return f"{say(self.event)} -> {', '.join(map(say, self.events()[1:])) or 'nothing'}"


def recorded(command: Command) -> Event:  # noqa: PLR0911 - one for each kind
    match command:
        case NewStep(call, step, given, action):
            return run.StepCreated(call=call, name=step.name, input=given, action=action)
        case EndStep(call):
            return run.StepCancelled(call=call)
        case NewWait(call, until_us):
            return run.WaitCreated(call=call, until=from_us(until_us))
        case EndWait(call):
            return run.WaitCancelled(call=call)
        case NewHook(call, token, name):
            return run.HookCreated(call=call, token=token, name=name)
        case EndHook(call):
            return run.HookDisposed(call=call)
        case Mark(_, event):
            return event


def say(event: Event) -> str:
    return f"{event.type}{event.model_dump(mode='json', exclude={'type'})}"


def first(choices: Sequence[Event]) -> Event:
    """Steps in their order, then payloads, then the timer that is due next."""
    return choices[0]


def at_random(seed: int) -> Choice:
    return Random(seed).choice


class Owner:
    """Keeps one run going until its code has ended, and chooses what comes next."""

    def __init__(
        self,
        workflow: Workflow[..., Any],
        *args: Any,
        choose: Choice = first,
        payloads: Sequence[tuple[str, Any]] = (),
        cancel_after: int | None = None,
    ) -> None:
        self.workflow, self.execution = workflow, Execution(workflow, "run-1")
        self.turns: list[Turn] = []
        self.now = START
        self._choose, self._cancel_after = choose, cancel_after
        self._payloads = list(payloads)
        self._steps: dict[int, tuple[Step[..., Any], Any]] = {}
        self._waits: dict[int, int] = {}
        self._hooks: dict[str, int] = {}
        self.tell(run.RunCreated(workflow=workflow.name, input=workflow.bind(*args).input()))

    def tell(self, event: Event) -> Turn:
        """Deliver an event, and take down what it led to."""
        turn = Turn(event, self.now)
        self.turns.append(turn)
        self.execution.deliver(event, self.now)
        turn.commands, self.execution.commands = self.execution.commands, []
        for command in turn.commands:
            self._note(command)
        self.now += 1000
        return turn

    def start(self) -> Owner:
        self.tell(run.RunStarted(worker="w"))
        return self

    def go(self) -> Owner:
        """Until the code has ended, or waits for what will never come."""
        self.start()
        while self.execution.outcome is None and len(self.turns) < 1000:
            if self._cancel_after is not None and len(self.turns) > self._cancel_after:
                self._cancel_after = None
                self.tell(run.CancelRequested(reason="enough"))
                continue
            choices = self.choices()
            if not choices:
                raise AssertionError(f"The code waits for nothing that could come:\n{self.say()}")
            event = self._choose(choices)
            self._have_chosen(event)
            self.tell(event)
        return self

    def choices(self) -> list[Event]:
        """What could come next."""
        found: list[Event] = [self.result(call) for call in self._steps]
        if self._payloads and self._payloads[0][0] in self._hooks:
            token, payload = self._payloads[0]
            found.append(run.HookReceived(call=self._hooks[token], payload=payload))
        if self._waits:
            found.append(run.WaitCompleted(call=min(self._waits, key=lambda call: (self._waits[call], call))))
        return found

    def result(self, call: int) -> run.StepCompleted | run.StepFailed:
        """What comes of a step; its body is a plain function here."""
        step, plain = self._steps[call]
        args, kwargs = step.signature.load(plain)
        try:
            output = step.function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            return run.StepFailed(call=call, attempt=1, error=describe(error))
        return run.StepCompleted(call=call, attempt=1, output=step.signature.result.dump(output))

    def _have_chosen(self, event: Event) -> None:
        match event:
            case run.StepCompleted() | run.StepFailed():
                del self._steps[event.call]
            case run.WaitCompleted():
                self.now = max(self.now, self._waits.pop(event.call))
            case run.HookReceived():
                self._payloads.pop(0)
            case _:
                pass

    def _note(self, command: Command) -> None:
        match command:
            case NewStep(call, step, given, _):
                self._steps[call] = (step, given)
            case EndStep(call):
                self._steps.pop(call)
            case NewWait(call, until_us):
                self._waits[call] = until_us
            case EndWait(call):
                self._waits.pop(call)
            case NewHook(call, token, _):
                self._hooks[token] = call
            case EndHook(call):
                self._hooks = {token: held for token, held in self._hooks.items() if held != call}
            case Mark():
                pass

    def history(self) -> list[tuple[Event, int]]:
        return [(event, turn.at) for turn in self.turns for event in turn.events()]

    def say(self) -> str:
        return "\n".join([*(turn.say() for turn in self.turns), self.ended()])

    def ended(self) -> str:
        outcome = self.execution.outcome
        return say(without_stack(outcome.event)) if outcome else "not ended"


def without_stack(event: Event) -> Event:
    if isinstance(event, run.RunFailed):
        error = event.error.model_copy(update={"stack": "", "cause": None})
        return event.model_copy(update={"error": error})
    return event


def replay(workflow: Workflow[..., Any], history: Iterable[tuple[Event, int]]) -> Execution:
    """A new process takes the run up from its history."""
    execution = Execution(workflow, "run-1")
    events = list(history)
    execution.know(event for event, _ in events)
    try:
        for event, at in events:
            execution.deliver(event, at)
    except BaseException:
        execution.evict()
        raise
    return execution


def assert_replays(owner: Owner) -> None:
    """The whole history asks for nothing new, and ends the same."""
    execution = replay(owner.workflow, owner.history())
    assert execution.commands == []
    assert execution.outcome is not None
    assert owner.execution.outcome is not None
    assert without_stack(execution.outcome.event) == without_stack(owner.execution.outcome.event)
    execution.evict()


def assert_resumes(owner: Owner, at: int, *, written: bool) -> None:
    """Taken up in the turn `at`, what the code asked for then being written or not, the run goes on as it did."""
    known = owner.turns[: at + 1]
    history = [(event, turn.at) for turn in known[:-1] for event in turn.events()]
    last = known[-1].events()
    history += [(event, known[-1].at) for event in (last if written else last[:1])]
    execution = replay(owner.workflow, history)
    assert execution.commands == ([] if written else known[-1].commands), f"resumed in turn {at}"
    execution.commands = []
    for turn in owner.turns[at + 1 :]:
        execution.deliver(turn.event, turn.at)
        taken, execution.commands = execution.commands, []
        assert taken == turn.commands, f"resumed in turn {at}, then {turn.say()}"
    assert execution.outcome is not None
    assert owner.execution.outcome is not None
    assert without_stack(execution.outcome.event) == without_stack(owner.execution.outcome.event)
    execution.evict()


def assert_same_everywhere(owner: Owner) -> None:
    """Replayed from every place in its history, the run is the same."""
    assert_replays(owner)
    for at in range(len(owner.turns)):
        assert_resumes(owner, at, written=True)
        assert_resumes(owner, at, written=False)

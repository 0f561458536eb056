"""Recorded histories against the code at hand: would these runs go on, or would they be held?

Nothing is executed and nothing is written: the code gets the events of the history, and what it asks for is compared.
More is compared than when a run goes on: the inputs of steps, unless told otherwise, and how the run ended.

    verdict = replay(app.workflows, history)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headwater.app import Workflow
from headwater.errors import NonDeterminismError
from headwater.events.canonical import encode_json
from headwater.events.model import Event
from headwater.runs import events as run
from headwater.runs.history_file import History
from headwater.workflows.calls import StepCall
from headwater.workflows.execution import Execution
from headwater.workflows.matching import line_of_code

_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a replay. `stuck`: the code at hand cannot even read or begin the history."""

    run: str
    tenant: str
    workflow: str
    result: Literal["ok", "diverged", "stuck"]
    events: int
    version: int = 0
    """The event at which it went wrong."""
    call: int | None = None
    """The number of the call that is another now."""
    recorded: str | None = None
    attempted: str | None = None
    where: str | None = None
    message: str | None = None


def replay(
    workflows: Mapping[tuple[str, int], Workflow[..., Any]], history: History, *, inputs: bool = True
) -> Verdict:
    """Run one history against the code. Not to be called from inside a task."""
    created = history.facts[0].event if history.facts else None
    if not isinstance(created, run.RunCreated):
        return _stuck(history, "", 0, "The history does not begin with run_created.")
    label = f"{created.workflow}@{created.workflow_version}"
    workflow = workflows.get((created.workflow, created.workflow_version))
    if workflow is None:
        there = ", ".join(f"{name}@{version}" for name, version in sorted(workflows)) or "none"
        return _stuck(history, label, 1, f"The code has no workflow {label}; it has: {there}.")
    execution = Replayed(workflow, history.run, history.tenant, inputs=inputs)
    version = 0
    try:
        execution.know(fact.event for fact in history.facts)
        for fact in history.facts:
            version = fact.version
            if isinstance(fact.event, run.RunCompleted | run.RunFailed | run.RunCancelled):
                execution.check_end(fact.event)
                break
            execution.deliver(fact.event, fact.recorded_us)
    except NonDeterminismError as error:
        return Verdict(
            run=history.run,
            tenant=history.tenant,
            workflow=label,
            result="diverged",
            events=len(history.facts),
            version=version,
            call=error.call,
            recorded=error.recorded,
            attempted=error.attempted,
            where=error.where,
            message=f"Call {error.call} is recorded as {error.recorded}, but the code at hand attempted "
            f"{error.attempted} ({error.where}).",
        )
    except Exception as error:  # noqa: BLE001  whatever the code at hand does with an old history
        return _stuck(history, label, version, f"{type(error).__name__}: {error}")
    finally:
        execution.evict()
    return Verdict(
        run=history.run, tenant=history.tenant, workflow=label, result="ok", events=len(history.facts)
    )


class Replayed(Execution):
    """An execution that is only compared with its history."""

    def __init__(
        self, workflow: Workflow[..., Any], run_id: str, tenant: str, *, inputs: bool = True
    ) -> None:
        super().__init__(workflow, run_id, tenant)
        self._inputs, self._held = inputs, False

    def deliver(self, event: Event, recorded_us: int) -> None:
        match event:
            case run.RunHeld():
                self._held = True
            case run.RunReleased():
                self._held = False
            case _:
                pass
        super().deliver(event, recorded_us)

    def issue_step(self, asked: StepCall[Any]) -> Any:
        recorded = self._recorded.get(self._calls + 1)
        issued = super().issue_step(asked)
        if self._inputs and isinstance(recorded, run.StepCreated):
            given = asked.step.signature.dump(asked.args, asked.kwargs)
            before, now = encode_json(recorded.input, "input"), encode_json(given, "input")
            if before != now:
                error = NonDeterminismError(
                    issued[0],
                    f"step {recorded.name!r} with the input {_short(before)}",
                    f"it with {_short(now)}",
                    line_of_code(asked),
                )
                self.loop.failure = self.loop.failure or error
                raise error
        return issued

    def check_end(self, recorded: run.RunCompleted | run.RunFailed | run.RunCancelled) -> None:
        """The code must have ended as the run did; but a run that was held, or had not begun, was cancelled unasked."""
        if isinstance(recorded, run.RunCancelled) and (self._held or self._root is None):
            return
        now = self.outcome.event if self.outcome is not None else None
        if now is None or type(now) is not type(recorded) or _ending(now) != _ending(recorded):
            call = self._calls
            raise NonDeterminismError(
                call, _say(recorded), _say(now) if now else self._still_asked(), f"after {call} calls"
            )

    def _still_asked(self) -> str:
        waiting = [step.name for _, step in self._steps.values()]
        return f"to go on (it waits for {', '.join(waiting) or 'a wait or a hook'})"


def _ending(event: run.RunCompleted | run.RunFailed | run.RunCancelled) -> Any:
    match event:
        case run.RunCompleted(output=output):
            return encode_json(output, "output")
        case run.RunFailed(error=error):
            return error.type  # a message may hold an address
        case run.RunCancelled():
            return None


def _say(event: run.RunCompleted | run.RunFailed | run.RunCancelled) -> str:
    match event:
        case run.RunCompleted(output=output):
            return f"the run's end with {_short(encode_json(output, 'output'))}"
        case run.RunFailed(error=error):
            return f"the run's failure with {error.type}: {error.message}"
        case run.RunCancelled():
            return "the run's cancellation"


def _short(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _stuck(history: History, workflow: str, version: int, message: str) -> Verdict:
    return Verdict(
        run=history.run,
        tenant=history.tenant,
        workflow=workflow,
        result="stuck",
        events=len(history.facts),
        version=version,
        message=message,
    )

"""A workflow, crashed wherever a crash can matter.

    def test_fulfil_survives_every_crash():
        crash_everywhere(fulfil, order, app=app, drive=approve, effects=effects)

The run is lived once undisturbed: each append of its events is a *boundary*. Then once for each boundary and side of
it: the worker dies just before that append reaches the log, or just after, before it hears so; another takes over.
Each time the run must end with the same result, with the same history but for attempts, workers and times, and every
effect outside must have happened as often as without a crash.

That is all there is to crash at: between two appends a worker only computes, and what it has computed is gone with it,
as if it had died at the append before.
"""

from __future__ import annotations

from typing import Any, Literal, ParamSpec, TypeVar

from headwater.app import Headwater, Workflow
from headwater.app.workflows import Bound
from headwater.events.envelope import Recorded
from headwater.runs.events import ErrorInfo
from headwater.runs.protocol import run_event
from headwater.testing.effects import Effects
from headwater.testing.lone_run import Crash, Drive, Life, live

P = ParamSpec("P")
R = TypeVar("R")

_PASSING = {"step_started", "step_retrying"}
_VARYING = {
    "run_started": {"worker", "at"},
    "step_completed": {"attempt"},
    "step_failed": {"attempt", "error"},
    "run_failed": {"error"},
    "wait_created": {"until"},
}


class CrashFailure(AssertionError):
    """A workflow did not survive a crash. `boundary` and `written` say which."""

    def __init__(self, message: str, boundary: int | None = None, *, written: bool = False) -> None:
        super().__init__(message)
        self.boundary, self.written = boundary, written


def crash_everywhere(
    workflow: Workflow[..., Any],
    *args: Any,
    app: Headwater,
    drive: Drive | None = None,
    effects: Effects | None = None,
    kept: Literal["memory", "sqlite"] = "memory",
) -> int:
    """Crash a run of this workflow at each of its boundaries; how many crashes there were.

    `drive(hw, run)` is what the world outside does to the run: `await hw.send(...)` waits until the hook is there. It
    is called once for each life of the run.
    """
    __tracebackhide__ = True
    bound = Bound(workflow, args, {})
    effects = effects or Effects()
    effects.clear()
    calm = live(app, bound, drive=drive, kept=kept)
    wanted = effects.count()
    if calm.end is None:
        raise CrashFailure(
            f"Without any crash the run of {workflow!r} does not end: {calm.trouble}.\n{_show(calm)}"
        )
    crashes = [Crash(boundary, side) for boundary in range(len(calm.boundaries)) for side in (False, True)]
    for crash in crashes:
        effects.clear()
        crashed = live(app, bound, drive=drive, crash=crash, kept=kept)
        wrong = _differ(calm, crashed, wanted, effects.count())
        if not crashed.crashed:
            wrong = "the run never came there again, though nothing else was different"
        if wrong:
            side = "after" if crash.written else "before"
            where = f"just {side} append {crash.boundary + 1} ({calm.boundaries[crash.boundary]})"
            raise CrashFailure(
                f"The worker crashed {where}: {wrong}.\n\n"
                f"Without the crash:\n{_show(calm)}\n\nWith it:\n{_show(crashed)}",
                crash.boundary,
                written=crash.written,
            )
    return len(crashes)


def _differ(calm: Life, crashed: Life, wanted: dict[str, int], happened: dict[str, int]) -> str:
    """What is wrong with the second life; empty if nothing is."""
    if crashed.end is None:
        return f"the run did not end: {crashed.trouble}"
    before, after = _ending(calm), _ending(crashed)
    if before != after:
        return f"the run ended with {after}, not with {before}"
    for what in sorted({*wanted, *happened}):
        if wanted.get(what, 0) != happened.get(what, 0):
            return (
                f"effect {what!r} happened {happened.get(what, 0)} times, not {wanted.get(what, 0)}. Give the "
                "idempotency key of the step, current_step().key, to whatever has the effect"
            )
    if _by_call(calm.history) != _by_call(crashed.history):
        return "the history differs"
    return ""


def _ending(life: Life) -> str:
    match life.end:
        case None:
            return "nothing"
        case end if end.type == "run_failed":
            return f"{end.error.type}: {end.error.message}"
        case end:
            return f"{end.type} {end.model_dump(mode='json', exclude={'type'})}"


def _by_call(history: list[Recorded]) -> dict[int, list[Any]]:
    """What must be the same, by call: results that come at the same time may come in any order."""
    found: dict[int, list[Any]] = {}
    for recorded in history:
        event = run_event(recorded)
        if event.type not in _PASSING:
            said = event.model_dump(mode="json", exclude=_VARYING.get(event.type))
            found.setdefault(said.get("call", 0), []).append(said)
    return found


def _show(life: Life) -> str:
    return "\n".join(f"  {recorded.version:>4}  {_line(recorded)}" for recorded in life.history)


def _line(recorded: Recorded) -> str:
    event = run_event(recorded)
    said = event.model_dump(mode="json", exclude={"type", "error"}, exclude_none=True)
    if isinstance(error := getattr(event, "error", None), ErrorInfo):
        said["error"] = f"{error.type}: {error.message}"
    return f"{recorded.type}  " + " ".join(f"{name}={value!r}" for name, value in said.items())

"""A run, as a program holds it."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from headwater.app import Workflow
from headwater.errors import RunCancelledError, RunFailedError
from headwater.runs.events import ErrorInfo, RunCancelled, RunCompleted, RunFailed
from headwater.runs.state import RunState
from headwater.workflows.failures import rebuild

R = TypeVar("R")
RunEnd = RunCompleted | RunFailed | RunCancelled


class Holder(Protocol):
    """What a handle needs of its client."""

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd: ...
    async def get(self, run: str) -> RunState: ...
    async def cancel(self, run: str, reason: str | None = None) -> None: ...


class RunHandle(Generic[R]):
    """One run. `R` is what its workflow returns."""

    def __init__(
        self, client: Holder, run: str, workflow: Workflow[..., R] | None, *, new: bool, label: str | None
    ) -> None:
        self._client, self._workflow, self._label = client, workflow, label
        self.id = run
        self.new = new
        """Whether this start made the run; else it was there already."""

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the run has ended: its result, or its error raised. `TimeoutError` ends the waiting only."""
        ended = await self._client.wait_for(self.id, self._label, timeout)
        result: R = _value(self.id, ended, self._workflow)
        return result

    async def state(self) -> RunState:
        """How the run stands now."""
        return await self._client.get(self.id)

    async def cancel(self, reason: str | None = None) -> None:
        """Ask the run to end. It may clean up; `result()` then raises `RunCancelledError`."""
        await self._client.cancel(self.id, reason)

    def __repr__(self) -> str:
        return f"<run {self.id}>"


def _value(run: str, ended: RunEnd, workflow: Workflow[..., Any] | None) -> Any:
    match ended:
        case RunCompleted(output=output):
            return output if workflow is None else workflow.signature.result.load(output)
        case RunFailed(error=error):

            def stand_in(info: ErrorInfo) -> Exception:
                said = f"Run {run!r} failed: {info.type}: {info.message}"
                return RunFailedError(run, said, type=info.type, stack=info.stack)

            raise rebuild(error, stand_in)
        case RunCancelled(reason=reason):
            raise RunCancelledError(run, f"Run {run!r} was cancelled{f': {reason}' if reason else ''}.")

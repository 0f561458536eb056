"""Actions: for one tenant, step and key, one result is recorded, across all runs.

The result is an event of a stream that is named after the key, written together with `step_completed`, and only if
that stream is empty. Whoever finds it there takes it and does nothing. Two runs may execute the same action at the same
time; the second to end is refused, looks again, and finds the first one's result.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from headwater.engine.surely import surely
from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.write import NO_STREAM, Write
from headwater.runs.events import ActionCompleted, StepCompleted

_LONGEST: Final = 200


class Action:
    """One call of an action."""

    def __init__(self, log: Log, of: Stream, call: int, name: str, key: str) -> None:
        short = key if len(key) <= _LONGEST and key.isprintable() else sha256(key.encode()).hexdigest()
        self._log, self._of, self._call, self._name = log, of, call, name
        self._stream = Stream("action", f"{name}/{short}", of.tenant)

    async def stored(self, attempt: int) -> StepCompleted | None:
        """The result that the key has already."""
        recorded = await surely(self._first)
        event = recorded.event if recorded is not None else None
        if isinstance(event, ActionCompleted):
            return StepCompleted(call=self._call, attempt=attempt, output=event.output)
        return None

    async def _first(self) -> Recorded | None:
        async for recorded in self._log.stream(self._stream, limit=1):
            return recorded
        return None

    def write(self, ended: StepCompleted) -> Write:
        """What makes a result the key's."""
        event = ActionCompleted(name=self._name, run=self._of.id, call=ended.call, output=ended.output)
        return Write(self._stream, [event], expect=NO_STREAM)

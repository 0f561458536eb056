"""Actions: for one tenant, step and key, one result is recorded, across all runs.

The result is an event of a stream that is named after the key, written together with `step_completed`, and only if
that stream is empty. Whoever finds it there takes it and does nothing. Two runs may execute the same action at the same
time; the second to end is refused, looks again, and finds the first one's result.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from headwater.engine.notes import StepNote
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.write import NO_STREAM, Write
from headwater.runs.events import ActionCompleted, StepCompleted

_LONGEST: Final = 200


class Action:
    """One call of an action."""

    def __init__(self, log: Log, of: Stream, note: StepNote) -> None:
        key = note.action or ""
        short = key if len(key) <= _LONGEST and key.isprintable() else sha256(key.encode()).hexdigest()
        self._log, self._of, self._note = log, of, note
        self._stream = Stream("action", f"{note.name}/{short}", of.tenant)

    async def stored(self) -> StepCompleted | None:
        """The result that the key has already."""
        async for recorded in self._log.stream(self._stream, limit=1):
            event = recorded.event
            if isinstance(event, ActionCompleted):
                return StepCompleted(call=self._note.call, attempt=self._note.attempts, output=event.output)
        return None

    def write(self, ended: StepCompleted) -> Write:
        """What makes a result the key's."""
        event = ActionCompleted(name=self._note.name, run=self._of.id, call=ended.call, output=ended.output)
        return Write(self._stream, [event], expect=NO_STREAM)

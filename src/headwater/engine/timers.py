"""Timers: due rows, fired by the database's time, by whichever worker comes first.

A timer that fires is an event of its run, `wait_completed`, which takes its due row along: exactly one of all who try
succeeds, and the run is woken in the same transaction. Its id follows from the wait, so trying again after an unknown
outcome is harmless.

Each worker knows the times of the waits of its own runs, and looks at the table when one of them has come; for the
others it looks every `poll` seconds.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence

from headwater.errors import Conflict, HeadwaterError
from headwater.events.envelope import NewEvent
from headwater.events.ids import derived_id
from headwater.events.model import Event
from headwater.log.group import Pending
from headwater.log.log import Log
from headwater.log.port import DueRow
from headwater.log.side import ClearDue, Wake
from headwater.log.write import Write
from headwater.runs import rows
from headwater.runs.events import WaitCompleted
from headwater.telemetry.loops import ROUND, told

Fired = Callable[[str, str, list[tuple[int, Event, int]]], None]
_BATCH = 1000
_SKEW_US = 20_000
"""By how much this worker may take the database's time wrongly: a wait is looked for until that long after its time."""


class Timers:
    """Fires what is due."""

    def __init__(self, log: Log, now_us: Callable[[], int], fired: Fired, poll: float) -> None:
        self._log, self._now_us, self._fired, self._poll = log, now_us, fired, poll
        self._times: list[int] = []
        self._sooner = asyncio.Event()

    def watch(self, until_us: int) -> None:
        """Some wait ends at this time."""
        if not self._times or until_us < self._times[0]:
            self._sooner.set()
        heapq.heappush(self._times, until_us)

    async def look(self) -> None:
        """Fire what is due, and wait until more may be."""
        now = self._now_us()  # before the look: what comes due during it is looked for again
        due = await self._log.backend.due(None, _BATCH)
        if due:
            await self.fire(due)
        while self._times and self._times[0] <= now - _SKEW_US:
            heapq.heappop(self._times)
        if len(due) < _BATCH:
            await self._pause()

    async def _pause(self) -> None:
        until = min(self._poll, ROUND)
        if self._times:
            until = min(until, (self._times[0] - self._now_us()) / 1_000_000)
        self._sooner.clear()
        await told(self._sooner, max(until, 0.002))

    async def fire(self, due: Sequence[DueRow]) -> None:
        """Complete these waits; those that somebody else has completed or cancelled meanwhile are passed over."""
        sent: list[tuple[DueRow, WaitCompleted, Pending]] = []
        for row in due:
            call, run_id = rows.call_of_due(row.key)
            stream = rows.run_stream(run_id, row.tenant)
            event = WaitCompleted(call=call)
            fact = NewEvent(event=event, id=derived_id(stream, f"wait/{call}"))
            write = Write(stream, [fact], rows=[ClearDue(row.key), Wake(rows.fence_key(run_id))])
            sent.append((row, event, await self._log.submit(write)))
        mine: dict[tuple[str, str], list[tuple[int, Event, int]]] = {}
        for row, event, pending in sent:
            try:
                placed = await pending
            except Conflict:
                continue
            except HeadwaterError:
                continue  # it stays due, and is fired when the log can be written again
            if placed.recorded_at and not placed.known[0]:
                found = mine.setdefault((row.tenant, rows.call_of_due(row.key)[1]), [])
                found.append((placed.versions[0], event, placed.recorded_at))
        for (tenant, run_id), events in mine.items():
            self._fired(tenant, run_id, events)

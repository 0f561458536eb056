"""Group commit: one commit for many callers.

Promise. Calls are written in the order in which they were submitted. One batch is under way at a time; what arrives
meanwhile is the next, so the batch grows with the load and nobody waits for a timer. Each call has its own
outcome. A call that was submitted is written or refused even if its caller was cancelled.

Why it is right.
- A batch whose outcome is unknown is sent again, the same calls with the same ids, until the outcome is known, and
  nothing else goes before: what was written the first time is found by its ids (rule 1 of `rules`), the rest is
  judged then. Sending the next batch first could put a caller's later write before its earlier one.
- A batch that the database refuses for good is halved until the call that causes it stands alone and only its author
  sees the error. Halves go in order. Trouble that would meet every call (a full disk) is not halved. After an unknown
  outcome a refusal says nothing of the first attempt: trouble that meets every call is then waited out, and the author
  of a call that is refused alone is told that its outcome is unknown.
- No batch names an event id or a side row twice (but fences and wake marks may be shared): a call that would, starts
  the next batch. So a backend may judge a batch with one look-up of each kind.
- A write that nobody awaits starts no flush of its own: it rides with the next one, or goes after `linger` seconds. So
  a workflow that hands in `step_started` and goes on costs one commit, not two.

- Where the database works in another process (`apart`), the outcomes of a large batch are told in two halves. Who hears
  the first half goes on and submits; that is sent; and while the database works on it, the second half hears. Else the
  callers and the database would take turns, each waiting for the other. All of a batch's outcomes are known before
  any is told, so nothing of the order changes.

Rejected: a task or a lock an event (they cost more than the event); a fixed flush interval (adds latency when idle
and nothing under load); dropping a cancelled caller's call (it may be on its way already, so cancelling could never
promise anything).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from random import Random

from headwater.errors import HeadwaterError, LogClosed, OutcomeUnknown
from headwater.log.port import BatchRefused, BatchRetry, BatchUnknown, Call, Outcome, Placed
from headwater.log.prepare import Prepared

_LARGE = 16
_PASSES = 2
Told = Sequence[tuple["Pending", Outcome]]
Flush = Callable[[Sequence[Call]], Awaitable[Sequence[Outcome]]]


class Pending:
    """A submitted call. Awaiting it makes sure that it is on its way, and gives its outcome."""

    __slots__ = ("_group", "future", "prepared", "taken")

    def __init__(self, group: GroupCommit, prepared: Prepared, future: asyncio.Future[Placed]) -> None:
        self._group = group
        self.prepared = prepared
        self.future = future
        self.taken = False

    def __await__(self) -> Generator[object, None, Placed]:
        if not self.taken:
            self._group.start()
        # who stops waiting (a timeout) must not take the outcome away from others, or from a second try
        return (yield from asyncio.shield(self.future))


class GroupCommit:
    """The queue of one shard and the one flush that empties it."""

    def __init__(
        self,
        flush: Flush,
        *,
        max_bytes: int,
        max_calls: int,
        linger: float,
        capacity: int,
        random: Random,
        apart: bool = False,
    ) -> None:
        self._flush, self._apart = flush, apart
        self._max_bytes, self._max_calls = max_bytes, max_calls
        self._linger, self._capacity, self._random = linger, capacity, random
        self._queue: deque[Pending] = deque()
        self._queued = 0
        self._in_flight: Sequence[Pending] = ()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        self._wanted = False
        self._closed = False

    def submit(self, prepared: Prepared, *, awaited: bool) -> Pending:
        """Queue a call, to be written with the next flush; an awaited one sees that there is a next."""
        if self._closed:
            raise LogClosed
        loop = asyncio.get_running_loop()
        pending = Pending(self, prepared, loop.create_future())
        self._queue.append(pending)
        self._queued += prepared.weight
        if awaited:
            self.start()
        elif self._task is None and self._timer is None:
            self._timer = loop.call_later(self._linger, self.start)
        return pending

    @property
    def full(self) -> bool:
        return self._queued > self._capacity

    async def room(self) -> None:
        """Wait until the queue is short enough to take more."""
        while self.full and not self._closed:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def start(self) -> None:
        """See that what is queued is flushed: now, or after the flush that is under way."""
        self._wanted = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._queue:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-flush")

    async def close(self, patience: float) -> None:
        """Flush what is queued, for at most `patience` seconds; what is left then fails with what is known of it."""
        self._closed = True
        self._make_room()
        self.start()
        task = self._task
        if task is not None:
            await asyncio.wait([task], timeout=patience)
            task.cancel()
            await asyncio.wait([task])
        for pending in self._in_flight:
            _fail(pending, OutcomeUnknown(event_ids=_ids(pending)))
        for pending in self._queue:
            _fail(
                pending, LogClosed("The log was closed before this call was sent; nothing of it was written.")
            )
        self._queue.clear()

    async def _run(self) -> None:
        untold: Told = ()
        try:
            while self._queue and self._wanted:
                batch = self._in_flight = self._take()
                self._wanted = bool(self._queue)
                outcomes = await self._settle_while_telling(batch, untold)
                untold = tuple(zip(batch, outcomes, strict=True))
                self._in_flight = ()
                if self._apart and len(untold) >= _LARGE:
                    half = len(untold) // 2
                    _tell(untold[:half])
                    untold = untold[half:]
                    for _ in range(_PASSES):
                        await asyncio.sleep(0)
                if not (self._queue and self._wanted):
                    _tell(untold)
                    untold = ()
        finally:
            _tell(untold)
            self._task = None
        if self._queue and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self.start)

    async def _settle_while_telling(self, batch: Sequence[Pending], untold: Told) -> Sequence[Outcome]:
        """Send a batch, and tell those who wait for the one before while it is on its way."""
        if not self._apart or not untold:
            _tell(untold)
            return await self._settle(batch)
        asyncio.get_running_loop().call_soon(_tell, untold)
        return await self._settle(batch)

    def _take(self) -> list[Pending]:
        """The longest prefix of the queue that may go together."""
        batch: list[Pending] = []
        weight = 0
        ids: set[int] = set()
        changed: set[tuple[str, ...]] = set()
        shared: set[tuple[str, ...]] = set()
        while self._queue and len(batch) < self._max_calls:
            pending = self._queue[0]
            prepared = pending.prepared
            rows = prepared.claims
            if batch and (
                weight + prepared.weight > self._max_bytes
                or not ids.isdisjoint(prepared.ids)
                or any(name in changed or (exclusive and name in shared) for name, exclusive in rows)
            ):
                break
            ids.update(prepared.ids)
            for name, exclusive in rows:
                (changed if exclusive else shared).add(name)
            weight += prepared.weight
            pending.taken = True
            batch.append(self._queue.popleft())
        self._queued -= weight
        if not self.full:
            self._make_room()
        return batch

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    async def _settle(self, batch: Sequence[Pending], *, unknown: bool = False) -> Sequence[Outcome]:
        """Write a batch until its outcome is known, for each call of it. `unknown`: an earlier attempt may be in."""
        calls = [pending.prepared.call for pending in batch]
        delay = 0.01
        while True:
            try:
                return await self._flush(calls)
            except (BatchUnknown, BatchRetry) as error:
                unknown = unknown or isinstance(error, BatchUnknown)
            except BatchRefused as refused:
                if not refused.everybody and len(batch) > 1:
                    half = len(batch) // 2
                    first = await self._settle(batch[:half], unknown=unknown)
                    return [*first, *await self._settle(batch[half:], unknown=unknown)]
                if not unknown:
                    return [refused.error] * len(batch)
                if not refused.everybody:
                    return [_unknown(pending, refused.error) for pending in batch]
            except Exception as error:  # noqa: BLE001  (a defect of the backend must not leave its callers waiting)
                defect = OutcomeUnknown(f"The backend failed in a way it should not: {error!r}")
                defect.__cause__ = error
                return [defect] * len(batch)
            await asyncio.sleep(delay * (0.5 + self._random.random()))
            delay = min(delay * 2, 1.0)


def _unknown(pending: Pending, error: HeadwaterError) -> OutcomeUnknown:
    """What is said of a call that was refused when it was sent again: its first sending may have been written."""
    unknown = OutcomeUnknown(event_ids=_ids(pending))
    unknown.__cause__ = error
    return unknown


def _tell(outcomes: Told) -> None:
    """Each caller its outcome; those who know already are passed over."""
    for pending, outcome in outcomes:
        if not isinstance(outcome, Placed):
            _fail(pending, outcome)
        elif not pending.future.done():
            pending.future.set_result(outcome)


def _fail(pending: Pending, error: HeadwaterError) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)
        pending.future.exception()  # nobody need be waiting


def _ids(pending: Pending) -> list[object]:
    return [row.event_id for write in pending.prepared.call.writes for row in write.rows]

"""Commands through ready work: accepted now, handled by a worker, in order for each aggregate, side by side for others.

A command is accepted by an event in its aggregate's command stream, and a token for it: a ready row. Whoever claims a
token handles the oldest command of the aggregate that has no marker yet, whichever token it is, and clears the token in
the marker's own append, under the claim. So there are never fewer tokens than commands that wait; one whose command
was handled otherwise is cleared when nothing waits. Two who hold tokens of one aggregate both begin with the oldest
command: one marker is written, the other looks again. So the order holds whatever they do, no accepted command is lost,
and none is handled twice. A worker that dies leaves its tokens claimed; they are freed with its lease.

In one worker the tokens of an aggregate stand in a line, so that it does not contend with itself; lines of several
aggregates go side by side, and each reads its aggregate's backlog on from where it was.

An acceptance has the id of its pipeline, tenant and key, so a key cannot be accepted for two aggregates: their tokens
are ready rows of that key, and the second would take the first one's place. A waiting command whose key was used at
once, for another command, is passed over and settled like one that was handled.

A handler that raises refuses its command: that is recorded in the marker's place, so that the aggregate's next
commands come to their turn. Trouble of the storage is no refusal: it is tried again. Nor is a state that cannot be
folded: its aggregate waits for mended code, is named in `failing`, and takes nobody's place.

Rejected: one row for an aggregate, replaced by each command (a row that is replaced while it is claimed can be
cleared under that claim, and the new command would wait for ever).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from headwater.errors import (
    CommandUnknown,
    EventIdReused,
    HeadwaterError,
    IdempotencyKeyReused,
    LogClosed,
    RowGone,
)
from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.ownership import TakenReady, WorkerRow
from headwater.log.side import ClearReady, PutReady
from headwater.log.snapshots import Folder
from headwater.log.write import Write
from headwater.pipelines.backlog import Backlog
from headwater.pipelines.commands import Asked, Command, Commander, digest_of
from headwater.pipelines.events import (
    STREAM_TYPE,
    CommandAccepted,
    CommandsSettled,
    command_stream,
    register_command_events,
)
from headwater.telemetry.loops import Loops

LOGGER: Final = logging.getLogger("headwater.pipelines")
_POLL: Final = 0.25
_LEASE: Final = 10.0
_AT_ONCE: Final = 16
_CLAIMED: Final = 128
_PAUSING: Final = 1000
_BREATH: Final = 0.01
_LONGEST: Final = 2.0


def queue_of(pipeline: str) -> str:
    return f"commands/{pipeline}"


async def accept(log: Log, pipeline: str, asked: Asked, actor: str | None = None) -> bool:
    """Accept a command; whether this call did."""
    register_command_events(log.registry)
    stream = command_stream(pipeline, asked.aggregate, asked.tenant)
    event = CommandAccepted(
        key=asked.key,
        command=type(asked.command).__name__,
        body=asked.command.model_dump(mode="json"),
        digest=digest_of(asked),
    )
    # of the pipeline and not of the aggregate: the same key for another aggregate would take this one's token away
    id = derived_id(Stream(STREAM_TYPE, pipeline, asked.tenant), f"accepted/{asked.key}")
    row = PutReady(queue_of(pipeline), asked.key, asked.aggregate.encode())
    try:
        [appended] = await log.append(Write(stream, [NewEvent(event=event, id=id, actor=actor)], rows=[row]))
    except EventIdReused:
        raise IdempotencyKeyReused(asked.key) from None
    return not appended.known[0]


class Dispatcher:
    """The part of a worker that handles what was accepted for one pipeline."""

    def __init__(self, log: Log, pipeline: str, commander: Commander[Any], lease: float = _LEASE) -> None:
        self._log, self._pipeline, self._commander, self._lease = log, pipeline, commander, lease
        self._name = f"commands-{pipeline}"
        self._folder = Folder(log)
        self._holder = ""
        self._lines: dict[tuple[str, str], deque[TakenReady]] = {}
        self._pausing: set[tuple[str, str]] = set()
        self._freed, self._gate = asyncio.Event(), asyncio.Semaphore(_AT_ONCE)
        self._busy: set[asyncio.Task[None]] = set()
        self._loops = Loops(LOGGER)

    @property
    def progress(self) -> Mapping[str, float]:
        return self._loops.progress

    @property
    def failing(self) -> Mapping[str, str]:
        return self._loops.failing

    async def start(self) -> None:
        await self._enrol()
        self._loops.begin(self._name, self._round, f"Commands of pipeline {self._pipeline} wait")
        self._loops.tasks.append(asyncio.create_task(self._beat(), name=f"headwater-{self._name}-lease"))

    async def stop(self) -> None:
        """What is claimed and not done is freed at once."""
        for task in self._busy:
            task.cancel()
        await asyncio.gather(self._loops.stop(), *self._busy, return_exceptions=True)
        with suppress(HeadwaterError):
            await self._log.backend.sweep(left=[self._holder])
        await self._folder.settled()
        self._loops.progress.clear()

    async def _enrol(self) -> None:
        self._holder = f"{self._name}-{uuid4().hex[:12]}"
        worker = WorkerRow(self._holder, "", int(self._lease * 1_000_000), b'{"labels":[]}')
        await self._log.backend.enrol(worker)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            with suppress(HeadwaterError):
                if await self._log.backend.beat(self._holder, b'{"labels":[]}') is None:
                    await self._enrol()  # taken for dead: what was claimed is others' by now

    async def _round(self) -> None:
        self._freed.clear()
        seen = (await self._log.head()).position
        claimed = sum(len(line) for line in self._lines.values())
        pausing = sum(len(self._lines[place]) for place in self._pausing)
        room = _CLAIMED - claimed + min(pausing, _PAUSING)
        taken: Sequence[TakenReady] = ()
        if room > 0:
            taken = await self._log.backend.take_ready(self._holder, {queue_of(self._pipeline): room})
        for row in taken:
            self._begin(row)
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                if room <= 0:
                    await self._freed.wait()
                elif not taken:
                    await self._log.beyond(seen)
        await asyncio.sleep(_BREATH)  # what is handled here makes the log go on, too

    def _begin(self, row: TakenReady) -> None:
        """A token joins the line of its aggregate."""
        place = (row.tenant, row.data.decode())
        if place in self._lines:
            self._lines[place].append(row)
            return
        self._lines[place] = deque([row])
        task = asyncio.create_task(self._handle(place), name=f"headwater-{self._name}-{place[1]}")
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _handle(self, place: tuple[str, str]) -> None:
        """Handle what waits for one aggregate, however often that fails; it takes nobody's room while it pauses."""
        tenant, aggregate = place
        line, pause, what = self._lines[place], 0.05, f"{self._name}/{tenant}/{aggregate}"
        backlog = Backlog(self._log, self._folder, command_stream(self._pipeline, aggregate, tenant))
        try:
            while line:
                try:
                    async with self._gate:
                        await self._settle(line[0], backlog)
                except LogClosed:
                    return
                except Exception as error:
                    self._loops.failing[what] = str(error) or type(error).__name__
                    known = isinstance(error, HeadwaterError)
                    LOGGER.warning("A command of %s is tried again: %s", what, error, exc_info=not known)
                    self._pausing.add(place)
                    self._freed.set()
                    await asyncio.sleep(pause)
                    self._pausing.discard(place)
                    pause = min(pause * 2, _LONGEST)
                else:
                    line.popleft()
                    self._freed.set()
                    pause = 0.05
                    self._loops.failing.pop(what, None)
        finally:
            self._pausing.discard(place)
            self._loops.failing.pop(what, None)
            del self._lines[place]

    async def _settle(self, row: TakenReady, backlog: Backlog) -> None:
        """Handle one command, and clear a token with it."""
        clear = ClearReady(row.queue, row.key, claim=row.claim)
        otherwise: set[str] = set()
        with suppress(RowGone):  # the claim was lost: the token is another's
            while (oldest := await backlog.oldest(otherwise)) is not None:
                asked = Asked(row.data.decode(), self._command_of(oldest), oldest.key, row.tenant)
                with suppress(IdempotencyKeyReused):  # another command was handled directly under its key
                    if (await self._commander.handle(asked, rows=[clear], note_refusal=True)).new:
                        return
                otherwise.add(oldest.key)
            settled = CommandsSettled(keys=tuple(key for key in backlog.keys if key in otherwise))
            stream = command_stream(self._pipeline, row.data.decode(), row.tenant)
            await self._log.append(Write(stream, [settled], rows=[clear]))

    def _command_of(self, accepted: CommandAccepted) -> Command:
        try:
            return self._commander.command_of(accepted.command, accepted.body)
        except ValidationError as error:  # it was accepted by other code than this: it waits for that
            raise CommandUnknown(
                self._pipeline, f"{accepted.command} as it was accepted ({error})", []
            ) from None

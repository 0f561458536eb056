"""Commands through ready work: accepted now, handled by a worker, in order for each aggregate, side by side for others.

A command is accepted by an event in its aggregate's command stream, and a token for it: a ready row. Whoever claims a
token handles the oldest command of the aggregate that has no marker yet, whichever token it is, and clears the token in
the marker's own append, under the claim. So there are never fewer tokens than commands that wait; one whose command
was handled otherwise is cleared when nothing waits. Two who hold tokens of one aggregate both begin with the oldest
command: one marker is written, the other looks again. So the order holds whatever they do, no accepted command is lost,
and none is handled twice. A worker that dies leaves its tokens claimed; they are freed with its lease.

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
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from headwater.errors import (
    CommandUnknown,
    EventIdReused,
    HeadwaterError,
    IdempotencyKeyReused,
    LogClosed,
    RowGone,
)
from headwater.events.envelope import NewEvent, Recorded, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.ownership import TakenReady, WorkerRow
from headwater.log.side import ClearReady, PutReady
from headwater.log.snapshots import Fold, Folder
from headwater.log.write import Write
from headwater.pipelines.commands import Asked, Command, Commander, digest_of
from headwater.pipelines.events import (
    STREAM_TYPE,
    CommandAccepted,
    CommandHandled,
    CommandRefused,
    CommandsSettled,
    command_stream,
    register_command_events,
)

LOGGER: Final = logging.getLogger("headwater.pipelines")
_POLL: Final = 0.25
_LEASE: Final = 10.0
_AT_ONCE: Final = 16
_MOST_PAUSING: Final = 1000
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
        self._busy: set[asyncio.Task[None]] = set()
        self._pausing: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.progress: dict[str, float] = {}
        self.failing: dict[str, str] = {}

    async def start(self) -> None:
        await self._enrol()
        self._went()
        self._tasks = [
            asyncio.create_task(loop(), name=f"headwater-{self._name}") for loop in (self._keep, self._beat)
        ]

    async def stop(self) -> None:
        """What is claimed and not done is freed at once."""
        tasks = [*self._tasks, *self._busy]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(HeadwaterError):
            await self._log.backend.sweep(left=[self._holder])
        self.progress.clear()

    async def _enrol(self) -> None:
        self._holder = f"{self._name}-{uuid4().hex[:12]}"
        worker = WorkerRow(self._holder, "", int(self._lease * 1_000_000), b'{"labels":[]}')
        await self._log.backend.enrol(worker)

    def _went(self) -> None:
        self.progress[self._name] = asyncio.get_running_loop().time()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            with suppress(HeadwaterError):
                if await self._log.backend.beat(self._holder, b'{"labels":[]}') is None:
                    await self._enrol()  # taken for dead: what was claimed is others' by now

    async def _keep(self) -> None:
        pause = 0.05
        while True:
            try:
                await self._round()
            except LogClosed:
                return
            except Exception as error:
                self.failing[self._name] = str(error) or type(error).__name__
                known = isinstance(error, HeadwaterError)
                LOGGER.warning("Commands of pipeline %s wait: %s", self._pipeline, error, exc_info=not known)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST)
            else:
                pause = 0.05
                self.failing.pop(self._name, None)
                self._went()

    async def _round(self) -> None:
        room = _AT_ONCE - len(self._busy) + min(len(self._pausing), _MOST_PAUSING)
        seen = (await self._log.head()).position
        wanted = {queue_of(self._pipeline): room} if room else {}
        taken = await self._log.backend.take_ready(self._holder, wanted)
        for row in taken:
            task = asyncio.create_task(self._handle(row), name=f"headwater-{self._name}-{row.key}")
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        if self._busy:
            await asyncio.wait(self._busy, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
        elif not taken:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await self._log.beyond(seen)

    async def _handle(self, row: TakenReady) -> None:
        """Handle what waits for one aggregate, however often that fails; it takes nobody's place while it pauses."""
        pause, place = 0.05, f"{self._name}/{row.tenant}/{row.key}"
        while True:
            try:
                await self._settle(row)
                self.failing.pop(place, None)
                return
            except LogClosed:
                return
            except Exception as error:
                self.failing[place] = str(error) or type(error).__name__
                known = isinstance(error, HeadwaterError)
                LOGGER.warning(
                    "Command %s of %s is tried again: %s", row.key, self._pipeline, error, exc_info=not known
                )
                self._pausing.add(place)
                try:
                    await asyncio.sleep(pause)
                finally:
                    self._pausing.discard(place)
                pause = min(pause * 2, _LONGEST)

    async def _settle(self, row: TakenReady) -> None:
        aggregate = row.data.decode()
        stream = command_stream(self._pipeline, aggregate, row.tenant)
        clear = ClearReady(row.queue, row.key, claim=row.claim)
        otherwise: set[str] = set()
        with suppress(RowGone):  # the claim was lost: the token is another's
            while True:
                waiting = (await self._folder.state(stream, WAITING)).state
                oldest = next((one for key, one in waiting.items() if key not in otherwise), None)
                if oldest is None:
                    settled = CommandsSettled(keys=tuple(key for key in waiting if key in otherwise))
                    await self._log.append(Write(stream, [settled], rows=[clear]))
                    return
                asked = Asked(aggregate, self._command_of(oldest), oldest.key, row.tenant)
                with suppress(IdempotencyKeyReused):  # another command was handled directly under its key
                    if (await self._commander.handle(asked, rows=[clear], note_refusal=True)).new:
                        return
                otherwise.add(oldest.key)

    def _command_of(self, accepted: CommandAccepted) -> Command:
        try:
            return self._commander.command_of(accepted.command, accepted.body)
        except ValidationError as error:  # it was accepted by other code than this: it waits for that
            raise CommandUnknown(
                self._pipeline, f"{accepted.command} as it was accepted ({error})", []
            ) from None


def _wait(waiting: dict[str, CommandAccepted], recorded: Recorded) -> dict[str, CommandAccepted]:
    """The commands that wait, by key, the oldest first."""
    match recorded.event:
        case CommandAccepted() as event:
            return {**waiting, event.key: event}
        case CommandHandled(key=key) | CommandRefused(key=key):
            return {other: event for other, event in waiting.items() if other != key}
        case CommandsSettled(keys=keys):
            return {key: event for key, event in waiting.items() if key not in keys}
        case _:
            return waiting


WAITING: Final = Fold(
    "commands", TypeAdapter(dict[str, CommandAccepted]), dict[str, CommandAccepted](), _wait
)

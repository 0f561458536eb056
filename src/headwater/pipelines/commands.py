"""Commands: what an aggregate is asked, decided by pure handlers, applied once for each key.

Promise. For one pipeline, tenant and key the events of a command are in the log once, whoever sends it, how often, from
how many processes and over how many days; a key that comes with another command is refused.

Why it is right. A marker is appended together with the command's events, all or nothing; its id comes from pipeline,
tenant and key. It is looked up before the handler runs, so a retry after days does not even ask the handler. Two who
send at once append events with the same ids: the log writes those of the first, and tells the second that they are
known, or, if the second decided on a newer state and so otherwise, that the ids are taken: it looks again and finds the
marker. The append expects the version that the decision was made at, also when no event came of it; if that has moved,
the handler, which is pure, decides anew. An answer that was lost is a look at the marker.

Rejected: a table of keys beside the log (it could disagree with the log); keys of one aggregate only (a client that
sends the same payment to two accounts would pay twice).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from headwater.errors import (
    CommandFailed,
    CommandUnknown,
    Conflict,
    EventIdReused,
    IdempotencyKeyReused,
    MixedIds,
    OutcomeUnknown,
    WrongVersion,
)
from headwater.events.canonical import encode_json
from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.events.model import Event
from headwater.events.names import check_id, check_name
from headwater.log.log import Log
from headwater.log.side import SideRow
from headwater.log.write import Write
from headwater.pipelines.events import (
    STREAM_TYPE,
    CommandHandled,
    CommandRefused,
    command_stream,
    register_command_events,
)
from headwater.pipelines.turns import Turns
from headwater.projections.inline import Inline
from headwater.projections.states import States

S = TypeVar("S")
C = TypeVar("C", bound="Command")
CONFLICTS: Final = 100
PAUSE: Final = 0.005


class Command(BaseModel):
    """What an aggregate is asked to do. Its name is that of the class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class CommandHandler(Generic[S]):
    """A command and the pure function that decides what comes of it."""

    command: type[Command]
    decide: Callable[[S, Any], Iterable[Event]]

    @property
    def name(self) -> str:
        return check_name("command", self.command.__name__)


def handles(command: type[C], decide: Callable[[S, C], Iterable[Event]]) -> CommandHandler[S]:
    """A command with its handler: `handles(Pay, pay)`, where `pay(state, command)` gives events, or raises."""
    return CommandHandler(command, decide)


class Handled(NamedTuple):
    """What came of a command. `new`: this call handled it; else an earlier one with the same key did."""

    key: str
    events: int
    version: int
    new: bool


class Asked(NamedTuple):
    """A command for an aggregate, under a key."""

    aggregate: str
    command: Command
    key: str
    tenant: str = "default"


class Commander(Generic[S]):
    """Handles the commands of one pipeline on one log."""

    def __init__(
        self,
        log: Log,
        pipeline: str,
        aggregate_type: str,
        states: States[S],
        handlers: Sequence[CommandHandler[S]],
        turns: Turns,
        inline: Inline,
    ) -> None:
        register_command_events(log.registry)
        self._log, self._pipeline, self._type, self._states = log, pipeline, aggregate_type, states
        self._turns, self.inline = turns, inline
        self._handlers = {handler.name: handler for handler in handlers}

    async def handle(
        self,
        asked: Asked,
        *,
        actor: str | None = None,
        rows: Sequence[SideRow] = (),
        note_refusal: bool = False,
    ) -> Handled:
        """Handle a command now. `rows` go with its marker; with `note_refusal`, what its handler raises is one."""
        stream = Stream(self._type, check_id("aggregate id", asked.aggregate), asked.tenant)
        async with self._turns.at(stream):
            return await self._decide(asked, stream, actor, rows, note_refusal=note_refusal)

    async def _decide(
        self, asked: Asked, stream: Stream, actor: str | None, rows: Sequence[SideRow], *, note_refusal: bool
    ) -> Handled:
        handler, digest = self.handler_of(asked.command), digest_of(asked)
        marks = command_stream(self._pipeline, asked.aggregate, asked.tenant)
        for attempt in range(CONFLICTS):
            if (known := await self.known(asked, digest, tell_refusal=not note_refusal)) is not None:
                return known
            state, version = await self._states.of_stream(stream)
            marker: CommandHandled | CommandRefused
            events: list[Event] = []
            try:
                events = list(handler.decide(state, asked.command))
                marker = CommandHandled(
                    key=asked.key,
                    command=handler.name,
                    digest=digest,
                    events=len(events),
                    version=version + len(events),
                )
            except Exception as error:
                if not note_refusal:
                    raise
                said = f"{type(error).__name__}: {error}"
                marker = CommandRefused(key=asked.key, command=handler.name, digest=digest, error=said)
            marker_id = self._marker_id(asked)
            caused = str(marker_id)
            written = [
                NewEvent(
                    event=event, id=derived_id(marks, asked.key, n + 1), actor=actor, causation_id=caused
                )
                for n, event in enumerate(events)
            ]
            marked = NewEvent(event=marker, id=marker_id, actor=actor)
            try:
                _, placed = await self.inline.append(
                    stream, written, version, beside=[Write(marks, [marked], rows=rows)]
                )
            except (WrongVersion, EventIdReused, MixedIds):
                await asyncio.sleep(PAUSE * attempt)  # another was quicker: look, and decide anew
                continue
            except OutcomeUnknown:
                if attempt >= CONFLICTS - 1:
                    raise
                continue
            return Handled(asked.key, len(events), version + len(events), not placed.known[0])
        raise Conflict(
            f"Aggregate {stream} changes too quickly: command {handler.name!r} was decided {CONFLICTS} times in vain. "
            "Send it again."
        )

    def handler_of(self, command: Command) -> CommandHandler[S]:
        handler = self._handlers.get(type(command).__name__)
        if handler is None or handler.command is not type(command):
            raise CommandUnknown(self._pipeline, type(command).__name__, sorted(self._handlers))
        return handler

    def command_of(self, name: str, body: dict[str, Any]) -> Command:
        """A command from its stored form."""
        handler = self._handlers.get(name)
        if handler is None:
            raise CommandUnknown(self._pipeline, name, sorted(self._handlers))
        return handler.command.model_validate(body)

    async def known(self, asked: Asked, digest: str, *, tell_refusal: bool = False) -> Handled | None:
        """What came of the key before."""
        for recorded in await self._log.find(asked.tenant, self._marker_id(asked)):
            marker = recorded.event
            if not isinstance(marker, CommandHandled | CommandRefused) or marker.digest != digest:
                raise IdempotencyKeyReused(asked.key)
            if isinstance(marker, CommandRefused):
                if tell_refusal:
                    raise CommandFailed(self._pipeline, asked.key, marker.error)
                return Handled(asked.key, 0, 0, False)
            return Handled(asked.key, marker.events, marker.version, False)
        return None

    def _marker_id(self, asked: Asked) -> Any:
        return derived_id(Stream(STREAM_TYPE, self._pipeline, asked.tenant), check_id("key", asked.key))


def digest_of(asked: Asked) -> str:
    """Tells a command from another, aggregate included."""
    plain = {
        "aggregate": asked.aggregate,
        "command": type(asked.command).__name__,
        "body": asked.command.model_dump(mode="json"),
    }
    return sha256(encode_json(plain, "command")).hexdigest()

"""Where an event belongs (`Stream`), what is to be written (`NewEvent`), and what was written (`Recorded`).

A `Recorded` is a view over one stored row: reading a million events must not cost a million parsed envelopes, so
its properties convert when they are asked. `recorded.event` is the typed event: upcast, validated, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from headwater.errors import PayloadMissing
from headwater.events.clock import from_us

if TYPE_CHECKING:
    from headwater.events.model import Event

SPEC_VERSION_LEGACY = 1
SPEC_VERSION_CURRENT = 2

Json = dict[str, Any] | list[Any] | str | int | float | bool | None


class Stream(NamedTuple):
    """The events of one aggregate."""

    type: str
    id: str
    tenant: str = "default"

    def __str__(self) -> str:
        return f"{self.tenant}/{self.type}/{self.id}"


class RawEvent(NamedTuple):
    """An event without a model: its type and any JSON value."""

    type: str
    data: Json
    schema_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be written, with what its envelope should say.

    `id` is made when it is left out; give one (see `derived_id`) where a retry in another process must not write
    twice. `correlation_id` and `causation_id` are the event's own id unless something caused it.
    """

    event: Event | RawEvent
    id: UUID | None = None
    occurred_at: datetime | None = None
    run_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None
    metadata: Mapping[str, Json] | None = None
    spec_version: int = SPEC_VERSION_CURRENT


class EventRow(NamedTuple):
    """An event to be written, encoded; the columns a backend is handed."""

    event_id: UUID
    type: str
    schema_version: int
    spec_version: int
    occurred_at: int
    run_id: str | None
    correlation_id: str | None
    causation_id: str | None
    actor: str | None
    traceparent: str | None
    encoding: str
    data: bytes | None
    metadata: bytes | None
    blob: bytes | None
    digest: bytes


class StoredRow(NamedTuple):
    """The columns that a backend hands back for a stored event, in this order, from any kind of tuple."""

    position: int
    tenant: str
    stream_type: str
    stream_id: str
    version: int
    event_id: UUID | bytes
    type: str
    schema_version: int
    spec_version: int
    occurred_at: int
    recorded_at: int
    run_id: str | None
    correlation_id: str | None
    causation_id: str | None
    actor: str | None
    traceparent: str | None
    encoding: str
    data: bytes | None
    metadata: bytes | None
    blob: bytes | None
    digest: bytes
    chain: bytes


class Decoder(Protocol):
    """What turns stored bytes into values; the registry and the codec chain together."""

    def event(self, type: str, schema_version: int, encoding: str, data: bytes) -> Event: ...
    def json(self, encoding: str, data: bytes) -> Any: ...


class Recorded:
    """An event in the log."""

    __slots__ = ("_decoder", "_event", "row", "shard")

    def __init__(self, row: StoredRow, decoder: Decoder, shard: int = 0) -> None:
        self.row = row
        self.shard = shard
        self._decoder = decoder
        self._event: Event | None = None

    @property
    def position(self) -> int:
        return self.row[0]

    @property
    def tenant(self) -> str:
        return self.row[1]

    @property
    def stream(self) -> Stream:
        row = self.row
        return Stream(row[2], row[3], row[1])

    @property
    def version(self) -> int:
        return self.row[4]

    @property
    def id(self) -> UUID:
        value = self.row[5]
        return UUID(bytes=value) if isinstance(value, bytes) else value

    @property
    def type(self) -> str:
        return self.row[6]

    @property
    def schema_version(self) -> int:
        return self.row[7]

    @property
    def spec_version(self) -> int:
        return self.row[8]

    @property
    def occurred_at(self) -> datetime:
        return from_us(self.row[9])

    @property
    def recorded_at(self) -> datetime:
        return from_us(self.row[10])

    @property
    def run_id(self) -> str | None:
        return self.row[11]

    @property
    def correlation_id(self) -> str:
        return self.row[12] or str(self.id)

    @property
    def causation_id(self) -> str:
        return self.row[13] or str(self.id)

    @property
    def actor(self) -> str | None:
        return self.row[14]

    @property
    def traceparent(self) -> str | None:
        return self.row[15]

    @property
    def encoding(self) -> str:
        return self.row[16]

    @property
    def blob(self) -> bytes | None:
        """The hash under which a large payload is stored, if it is one."""
        return self.row[19]

    @property
    def digest(self) -> bytes:
        return self.row[20]

    @property
    def chain(self) -> bytes:
        return self.row[21]

    @property
    def stored(self) -> bytes | None:
        """The payload's stored bytes; None when the read left them out."""
        return self.row[17]

    @property
    def data(self) -> Any:
        """The payload as plain JSON values, as it was written (not upcast); None when the read left it out."""
        stored = self.row[17]
        return None if stored is None else self._decoder.json(self.row[16], stored)

    @property
    def metadata(self) -> Mapping[str, Any]:
        stored = self.row[18]
        return {} if stored is None else self._decoder.json(self.row[16], stored)

    @property
    def event(self) -> Event:
        """The typed event, lifted to its model's current schema version."""
        if self._event is None:
            row = self.row
            stored = row[17]
            if stored is None:
                raise PayloadMissing(
                    f"Event {self.id} was read without its payload. Read with data=Data.ALL."
                )
            self._event = self._decoder.event(row[6], row[7], row[16], stored)
        return self._event

    def __repr__(self) -> str:
        return f"<{self.type} {self.stream}@{self.version} position {self.position}>"

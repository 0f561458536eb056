"""From what a caller wrote to what a backend is handed: checked, encoded once, digested, before any lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from headwater.errors import PayloadRefused
from headwater.events.canonical import encode_event, encode_json
from headwater.events.clock import Clock, to_us
from headwater.events.codec import Codec
from headwater.events.digest import event_digest, plain_digest
from headwater.events.envelope import SPEC_VERSION_CURRENT, EventRow, NewEvent, RawEvent, Stream
from headwater.events.ids import Ids
from headwater.events.model import Event, type_name
from headwater.events.names import check_id, check_name
from headwater.log.port import Call, PreparedWrite
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    NeedReady,
    OpenFence,
    PutEntry,
    PutReady,
    PutState,
    SetDue,
    SideRow,
    TakeKey,
    Trust,
    Wake,
    WithdrawReady,
    claims,
    is_repeatable,
)
from headwater.log.write import Write

Blobs = list[tuple[bytes, bytes]]
Claim = tuple[tuple[str, ...], bool]


class Limits(NamedTuple):
    """Sizes in bytes. A payload over `inline` is stored as a blob; one over `payload` is refused."""

    inline: int = 64 * 1024
    payload: int = 64 * 1024 * 1024
    side_row: int = 64 * 1024
    state: int = 1024 * 1024


class Prepared(NamedTuple):
    """A call ready for the backend, the blobs to store before it, its weight in bytes, and what it names.

    Ids are told by their numbers, which are compared in a third of the time.
    """

    call: Call
    blobs: Blobs
    weight: int
    ids: set[int]
    claims: Sequence[Claim]


_PER_EVENT = 256
_INTEGER = 2**31


class Preparer:
    """Turns writes into calls."""

    def __init__(self, codec: Codec, ids: Ids, clock: Clock, limits: Limits) -> None:
        self._codec, self._ids, self._clock, self._limits = codec, ids, clock, limits
        self._small = min(_SMALL, limits.payload, limits.inline)

    def prepare(self, writes: Sequence[Write]) -> Prepared:
        """Check and encode; the same write prepared again gives the same bytes."""
        for write in writes:
            if write.prepared is None:
                write.prepared = self._write(write)
        prepared = tuple([write.prepared for write in writes if write.prepared])
        if not prepared:
            raise PayloadRefused("There is nothing to append: give at least one write.")
        call = Call(prepared[0][0].stream.tenant, tuple([write for write, _ in prepared]))
        return _weighed(call, [blob for _, blobs in prepared for blob in blobs])

    def _write(self, write: Write) -> tuple[PreparedWrite, Blobs]:
        stream = write.stream
        _check_stream(stream)
        now = self._clock.now_us()
        blobs: Blobs = []
        rows = tuple(
            [
                (self._plain_row(stream, event, now) if isinstance(event, Event) else None)
                or self._row(stream, event, now, blobs)
                for event in write.events
            ]
        )
        for side in write.rows:
            if isinstance(side, PutState):
                self._check_state(side, write)
            else:
                check_id("key", side.key)
                self._check_side(side)
        return PreparedWrite(stream, rows, write.expect, write.known == "skip", write.rows), blobs

    def _plain_row(self, stream: Stream, event: Event, now: int) -> EventRow | None:
        """The commonest event, in half the time: a small typed one, of which the envelope says nothing special."""
        payload = encode_event(event)
        if len(payload) > self._small:
            return None
        name, schema_version = _kind_of(type(event))
        encoding, data, _ = self._codec.encode(payload, None)
        id = self._ids.new()
        digest = plain_digest(stream, id, name, schema_version, SPEC_VERSION_CURRENT, now, encoding, data)
        return EventRow(
            id, name, schema_version, SPEC_VERSION_CURRENT, now, None, None, None, None, None, encoding, data,
            None, None, digest,
        )  # fmt: skip

    def _row(self, stream: Stream, event: Event | RawEvent | NewEvent, now: int, blobs: Blobs) -> EventRow:
        plain = _PLAIN if not isinstance(event, NewEvent) else event
        fact = event.event if isinstance(event, NewEvent) else event
        if isinstance(fact, Event):
            name, schema_version, payload = _name_of(type(fact)), fact.schema_version, encode_event(fact)
        else:
            name, schema_version = check_name("event type", fact.type), fact.schema_version
            payload = encode_json(fact.data, name)
        if len(payload) > self._limits.payload:
            raise PayloadRefused(
                f"A {name} for {stream} has {len(payload):,} bytes; at most {self._limits.payload:,} are allowed. "
                "Keep the content elsewhere and store a reference."
            )
        metadata = encode_json(dict(plain.metadata), f"{name}.metadata") if plain.metadata else None
        if metadata and len(metadata) > self._limits.inline:
            raise PayloadRefused(
                f"The metadata of a {name} has {len(metadata):,} bytes; put that into its payload."
            )
        encoding, data, metadata = self._codec.encode(payload, metadata)
        blob = None
        if len(data) > self._limits.inline:
            blob = sha256(data).digest()
            blobs.append((blob, data))
        if plain is not _PLAIN:
            for what in _ORIGIN:
                value = getattr(plain, what)
                if value is not None:
                    check_id(what, value)
        if not 0 < schema_version < _INTEGER or not 0 < plain.spec_version < _INTEGER:
            raise PayloadRefused(
                f"A {name} says it is of schema version {schema_version} and spec version {plain.spec_version}; "
                "versions count from 1."
            )
        envelope = (
            plain.id or self._ids.new(),
            name,
            schema_version,
            plain.spec_version,
            now if plain.occurred_at is None else _aware_us(plain.occurred_at, name),
            plain.run_id,
            plain.correlation_id,
            plain.causation_id,
            plain.actor,
            plain.traceparent,
            encoding,
            None if blob else data,
            metadata,
            blob,
        )
        return EventRow(*envelope, event_digest(stream.tenant, stream.type, stream.id, *envelope))

    def _check_side(self, side: SideRow) -> None:
        match side:
            case Fence() | Wake() | Trust() | CloseFence() | ClearDue() | PutState():
                pass
            case TakeKey(_, holder) | NeedKey(_, holder) | GiveKey(_, holder):
                check_id("holder", holder)
            case OpenFence(_, label, holder):
                if label:
                    check_id("label", label)
                if holder is not None:
                    check_id("holder", holder)
            case PutEntry(list, _, label, status, data):
                check_name("list", list)
                check_id("label", label)
                check_name("status", status)
                self._check_data(side.key, data)
            case SetDue(key, at, data):
                _aware_us(at, key)
                self._check_data(key, data)
            case PutReady(queue, key, data, priority, at):
                check_name("queue", queue)
                if not -_INTEGER <= priority < _INTEGER:
                    raise PayloadRefused(f"Row {key!r} has priority {priority}, which is out of range.")
                if at is not None:
                    _aware_us(at, key)
                self._check_data(key, data)
            case ClearReady(queue) | WithdrawReady(queue) | NeedReady(queue):
                check_name("queue", queue)

    def _check_state(self, side: PutState, write: Write) -> None:
        """The state was folded from what the write expects, and the write leads to where it is."""
        leads_to = write.expect + len(write.events)
        if side.stream != write.stream or write.expect < 0 or write.known == "skip":
            raise PayloadRefused(
                f"The state of {side.stream} goes with a write to that stream which expects a version."
            )
        if not write.events or side.version != leads_to:
            raise PayloadRefused(
                f"The state of {side.stream} is of version {side.version}; the write leads to version {leads_to}."
            )
        check_name("projection", side.projection)
        if len(side.state) > self._limits.state:
            raise PayloadRefused(
                f"Projection {side.projection!r} makes a state of {len(side.state):,} bytes of {side.stream}; "
                f"at most {self._limits.state:,} go with an append. Let it follow the log: inline=False."
            )

    def _check_data(self, key: str, data: bytes) -> None:
        if len(data) > self._limits.side_row:
            raise PayloadRefused(f"Row {key!r} carries {len(data):,} bytes; store a reference.")


_ORIGIN = ("run_id", "correlation_id", "causation_id", "actor", "traceparent")
_PLAIN = NewEvent(event=RawEvent("plain", None))
_SMALL = 16 * 1024


@lru_cache(maxsize=4096)
def _check_stream(stream: Stream) -> None:
    check_name("stream type", stream.type)
    check_id("stream id", stream.id)
    check_id("tenant", stream.tenant)


_name_of = lru_cache(maxsize=1024)(type_name)


@lru_cache(maxsize=1024)
def _kind_of(model: type[Event]) -> tuple[str, int]:
    schema_version = model.schema_version
    if not 0 < schema_version < _INTEGER:
        raise PayloadRefused(
            f"{model.__name__} says it is of schema version {schema_version}; versions count from 1."
        )
    return type_name(model), schema_version


def _weighed(call: Call, blobs: Blobs) -> Prepared:
    """Check what must hold of a whole call."""
    weight = count = 0
    ids: set[int] = set()
    rows: set[tuple[str, ...]] = set()
    named: list[Claim] = []
    for write in call.writes:
        if write.stream.tenant != call.tenant:
            raise PayloadRefused(
                f"One call writes for tenants {call.tenant!r} and {write.stream.tenant!r}. Append them separately."
            )
        for row in write.rows:
            count += 1
            ids.add(row.event_id.int)
            weight += _PER_EVENT + len(row.data or b"") + len(row.metadata or b"")
        for side in write.side:
            name, exclusive = claims(side)
            name = call.tenant, *name
            weight += len(side.state) if isinstance(side, PutState) else 0
            if exclusive and name[1] != "fence" and name in rows:
                raise PayloadRefused(
                    f"A call changes the {name[1]} row {side.key!r} twice. Say once what it should be."
                )
            rows.add(name)
            named.append((name, exclusive))
    if not count and not (named and all(is_repeatable(side) for write in call.writes for side in write.side)):
        raise PayloadRefused("A call needs at least one event: its id is what makes a retry safe.")
    if len(ids) < count:
        raise PayloadRefused("An event id stands twice in one call. Make a new id for each event.")
    return Prepared(call, blobs, weight, ids, named)


def _aware_us(moment: datetime, what: str) -> int:
    if moment.tzinfo is None:
        raise PayloadRefused(f"{what} has the time {moment}, without a zone. Add tzinfo=UTC.")
    return to_us(moment)

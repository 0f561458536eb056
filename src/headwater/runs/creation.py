"""Creating runs: one event and its rows each, many in one round trip, and the same run again for the same request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.errors import EventIdReused, HeadwaterError, InvalidName, RunIdReused, WrongVersion
from headwater.events.canonical import encode_json
from headwater.events.clock import to_us
from headwater.events.envelope import NewEvent
from headwater.events.ids import derived_id
from headwater.events.names import check_id, check_name
from headwater.log.group import Pending
from headwater.log.log import Log
from headwater.log.side import OpenFence, SideRow, Wake
from headwater.log.write import NO_STREAM, Appended, Write
from headwater.runs.entry import check_attributes, entry
from headwater.runs.events import RunCreated
from headwater.runs.protocol import run_event
from headwater.runs.rows import DEFAULT_TENANT, fence_key, label_of, run_stream

MAX_RUN_ID = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be created. `input` is plain JSON."""

    id: str
    workflow: str
    workflow_version: int = 1
    input: Any = None
    tenant: str = DEFAULT_TENANT
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None
    actor: str | None = None
    traceparent: str | None = None


class Created(NamedTuple):
    """A run that is there now. `new`: this call made it. `owned`: whoever was named as its owner owns it."""

    run: str
    tenant: str
    new: bool
    owned: bool
    appended: Appended
    event: RunCreated


def creation(new: NewRun, owner: str | None = None) -> tuple[Write, RunCreated]:
    """What creates a run: for a call of its own, or together with other writes (its parent's)."""
    check_run_id(new.id)
    check_name("workflow", new.workflow)
    check_attributes(new.attributes)
    event = RunCreated(
        workflow=new.workflow,
        workflow_version=new.workflow_version,
        input=new.input,
        parent=new.parent,
        attributes=dict(new.attributes),
    )
    stream = run_stream(new.id, new.tenant)
    envelope = NewEvent(
        event=event,
        id=derived_id(stream, "run_created"),
        run_id=new.id,
        actor=new.actor,
        traceparent=new.traceparent,
    )
    fence = fence_key(new.id)
    listed = entry(
        new.id, new.workflow, new.workflow_version, "pending", attributes=new.attributes, parent=new.parent
    )
    rows: list[SideRow] = [
        OpenFence(fence, label_of(new.workflow, new.workflow_version), owner),
        *([] if owner else [Wake(fence)]),
        listed,
    ]
    return Write(stream, [envelope], expect=NO_STREAM, rows=rows), event


def check_run_id(run: str) -> str:
    """A run's id is text of people; it must leave room for the names of the rows that hold it."""
    check_id("run id", run)
    if len(run.encode()) > MAX_RUN_ID:
        raise InvalidName("run id", run, f"it must have {MAX_RUN_ID} bytes at most")
    return run


async def create_runs(log: Log, news: Sequence[NewRun], owner: str | None) -> list[Created]:
    """Hand in all, then wait for all. The first refusal is raised at the end: the others are created by then."""
    made = [creation(new, owner) for new in news]
    handed_in = [await log.submit(write) for write, _ in made]
    created: list[Created] = []
    refused: HeadwaterError | None = None
    for new, (write, event), pending in zip(news, made, handed_in, strict=True):
        try:
            created.append(await _settled(log, new, write, event, pending, owner))
        except HeadwaterError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return created


async def _settled(
    log: Log, new: NewRun, write: Write, event: RunCreated, pending: Pending, owner: str | None
) -> Created:
    try:
        placed = await pending
    except (EventIdReused, WrongVersion):
        return await _existing(log, new)
    appended = Appended(
        write.stream, tuple(placed.versions), tuple(placed.positions), tuple(placed.known), placed.recorded_at
    )
    if not placed.known[0]:
        return Created(new.id, new.tenant, True, owner is not None, appended, event)
    # known by id and digest: written by this very call's first try, or by its twin in the same microsecond. Which of
    # the two cannot be told, so it is for the owner to see whether the run is theirs.
    return Created(new.id, new.tenant, False, False, appended, event)


async def _existing(log: Log, new: NewRun) -> Created:
    """The run that has the id already, if it is the one that was asked for."""
    stream = run_stream(new.id, new.tenant)
    async for recorded in log.stream(stream, limit=1):
        event = run_event(recorded)
        if not isinstance(event, RunCreated) or event.workflow != new.workflow or not _same(event, new):
            there = event.workflow if isinstance(event, RunCreated) else recorded.type
            raise RunIdReused(new.id, there, new.workflow)
        place = Appended(
            stream, (recorded.version,), (recorded.position,), (True,), to_us(recorded.recorded_at)
        )
        return Created(new.id, new.tenant, False, False, place, event)
    raise RunIdReused(new.id, "nothing that can be read", new.workflow)


def _same(event: RunCreated, new: NewRun) -> bool:
    return encode_json(event.input, "input") == encode_json(new.input, "input")

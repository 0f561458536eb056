"""`headwater log show`: one event in full, or a stream's events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from headwater.cli.events_text import event_in_full, stored_payload
from headwater.cli.exits import NotThere
from headwater.cli.output import OUT, plain, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.events.envelope import Recorded, Stream
from headwater.log.cursor import Cursor
from headwater.log.log import Log
from headwater.log.plain import event_json
from headwater.log.port import DEFAULT_SHARD

_TENANT = "default"


def show(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="STREAM|EVENT_ID|POSITION", help="TYPE/ID or TENANT/TYPE/ID; an event's id; a position."
        ),
    ],
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant of the stream or event.")] = None,
    at_version: Annotated[
        int | None,
        typer.Option("--at-version", metavar="N", min=1, help="The stream as it was at a version."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="The stream as it was recorded by a time.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Only the payloads, as they are stored, one a line.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print an event, or the events of a stream, with their payloads."""
    session = Session.of(ctx, url, as_json)
    run(_show(session, what, tenant, at_version, None if until is None else parse_time(until), raw=raw))


def parse_time(text: str) -> datetime:
    """A time with its zone, as ISO 8601 writes it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time. Write 2026-01-31T12:00:00Z.") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone. Write {moment.isoformat()}Z for UTC.")
    return moment


async def _show(
    session: Session,
    what: str,
    tenant: str | None,
    at_version: int | None,
    until: datetime | None,
    *,
    raw: bool,
) -> None:
    async with session.opened() as log:
        count = 0
        async for recorded in _find(log, what, tenant, at_version, until):
            if raw:
                text = stored_payload(log.codec, recorded)
                say(plain(text) if OUT.on_terminal else text)
            elif session.as_json:
                say_json(event_json(log, recorded))
            else:
                say(("\n" if count else "") + event_in_full(recorded))
            count += 1
        if not count:
            raise NotThere(
                f"There is nothing at {what!r} in this log. `headwater log tail` shows what there is."
            )


async def _find(
    log: Log, what: str, tenant: str | None, at_version: int | None, until: datetime | None
) -> AsyncIterator[Recorded]:
    one = await _at_position(log, int(what), tenant) if what.isdecimal() else await _by_id(log, what, tenant)
    if one is not None:
        events = log.stream(one.stream, from_version=one.version, to_version=one.version)
    else:
        stream = await _stream(log, what, tenant)
        if stream is None:
            return
        events = log.stream(stream, to_version=at_version, until=until)
    async for recorded in events:
        yield recorded


async def _at_position(log: Log, position: int, tenant: str | None) -> Recorded | None:
    before = await log.backend.place(DEFAULT_SHARD, position - 1) if position else None
    if before is None:
        return None
    after = Cursor(log.info.incarnation, {DEFAULT_SHARD: before})
    async for recorded in log.read(after, tenant=tenant, page=1):
        return recorded if recorded.position == position else None
    return None


async def _by_id(log: Log, what: str, tenant: str | None) -> Recorded | None:
    try:
        id = UUID(what)
    except ValueError:
        return None
    found = await log.find(tenant or _TENANT, id)
    return found[0] if found else None


async def _stream(log: Log, what: str, tenant: str | None) -> Stream | None:
    """The stream that is called so: TENANT/TYPE/ID where there is one, else TYPE/ID, whose id may hold slashes."""
    parts = what.split("/", 2)
    long = [Stream(parts[1], parts[2], parts[0])] if len(parts) == 3 and tenant is None else []
    kind, _, id = what.partition("/")
    for stream in [*long, Stream(kind, id, tenant or _TENANT)]:
        if await log.version(stream):
            return stream
    return None

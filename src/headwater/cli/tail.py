"""`headwater log tail`: the last events, and those to come."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import typer

from headwater.cli.events_text import event_line
from headwater.cli.output import flush, say, say_json
from headwater.cli.session import Json, Session, Url, run
from headwater.errors import CursorRefused
from headwater.events.envelope import Recorded
from headwater.log.cursor import Cursor
from headwater.log.log import Log
from headwater.log.plain import event_json
from headwater.log.port import DEFAULT_SHARD, Data

_LAST = 10
_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader wants to see. `stream` is a type, or a type and an id."""

    types: tuple[str, ...] = ()
    stream: str | None = None
    tenant: str | None = None
    run_id: str | None = None

    async def pages(
        self, log: Log, after: Cursor | None, *, follow: bool
    ) -> AsyncIterator[tuple[list[Recorded], Cursor]]:
        kind, _, id = (self.stream or "").partition("/")
        async for page in log.pages(
            after,
            follow=follow,
            tenant=self.tenant,
            stream_types=(kind,) if kind else (),
            types=self.types,
            run_id=self.run_id,
            data=Data.REFS,
        ):
            yield [event for event in page.events if not id or event.stream.id == id], page.cursor


def tail(
    ctx: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is appended.")] = False,
    number: Annotated[
        int | None,
        typer.Option(
            "-n",
            metavar="N",
            min=0,
            help="How many events: the last 10; with --after the next, without limit.",
        ),
    ] = None,
    type: Annotated[list[str] | None, typer.Option("--type", help="Event types to show.")] = None,
    stream: Annotated[
        str | None, typer.Option("--stream", metavar="TYPE[/ID]", help="A stream type, or one stream.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="One run.")] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Start behind a cursor, or behind a position."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the last events, one a line. With --json each brings the cursor behind it."""
    session = Session.of(ctx, url, as_json)
    wanted = Filter(tuple(type or ()), stream, tenant, run_id)
    run(_tail(session, wanted, after, number, follow=follow))


async def _tail(
    session: Session, wanted: Filter, after: str | None, number: int | None, *, follow: bool
) -> None:
    async with session.opened() as log:
        if after is not None:
            left = number
            async for events, _ in wanted.pages(log, await _cursor(log, after), follow=follow):
                _print(session, log, events if left is None else events[:left])
                left = None if left is None else left - len(events)
                if left is not None and left <= 0:
                    return
            return
        events, cursor = await _last(log, wanted, _LAST if number is None else number)
        _print(session, log, events)
        if follow:
            async for events, _ in wanted.pages(log, cursor, follow=True):
                _print(session, log, events)


async def _last(log: Log, wanted: Filter, number: int) -> tuple[list[Recorded], Cursor]:
    """The last events that are wanted: looked for from the end, in a window that grows until it holds enough."""
    end = (await log.head()).position
    window = max(_WINDOW, number)
    while True:
        start = max(end - window, 0)
        cursor = await _at(log, start)
        kept: deque[Recorded] = deque(maxlen=number)
        async for events, seen in wanted.pages(log, cursor, follow=False):
            kept.extend(events)
            cursor = seen
        if len(kept) == number or start == 0:
            return list(kept), cursor
        window *= 4


async def _cursor(log: Log, text: str) -> Cursor:
    return await _at(log, int(text)) if text.isdecimal() else Cursor.parse(text)


async def _at(log: Log, position: int) -> Cursor:
    """The cursor behind a position."""
    place = await log.backend.place(DEFAULT_SHARD, position)
    if place is None:
        end = (await log.head()).position
        raise CursorRefused(f"The log ends at position {end}; there is no position {position}.")
    return Cursor(log.info.incarnation, {DEFAULT_SHARD: place})


def _print(session: Session, log: Log, events: list[Recorded]) -> None:
    for event in events:
        if session.as_json:
            say_json(event_json(log, event))
        else:
            say(event_line(event))
    flush()

"""`/api/v1/log` and `/api/v1/streams`: events as they are, a page at a time, or followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from headwater.events.envelope import Recorded, Stream
from headwater.events.names import check_id, check_name
from headwater.log.cursor import Cursor
from headwater.log.plain import event_json
from headwater.server.body import PlainRoute, answer
from headwater.server.feed import Follower
from headwater.server.problems import Problem
from headwater.server.routes.parameters import At, Limit
from headwater.server.serving import Server
from headwater.server.sse import MEDIA as EVENTS
from headwater.server.sse import EventStream, as_text, last_seen, wants_events
from headwater.server.wire import EventShown, EventsPage

Names = Annotated[list[str] | None, Query(description="May be repeated.")]


def routes(server: Server) -> APIRouter:
    router = APIRouter(tags=["log"], route_class=PlainRoute)
    reads = server.gate.allow("read")
    log = server.log

    @router.get("/log", response_model=EventsPage, responses={200: {"content": {EVENTS: {}}}})
    async def read_log(
        request: Request,
        tenant: str = reads,
        after: Annotated[str | None, Query(description="A cursor; from the beginning without one.")] = None,
        stream_type: Names = None,
        type: Names = None,
        run_id: str | None = None,
        limit: Limit = 100,
    ) -> Response:
        """The log after a cursor. Accept `text/event-stream` to follow it; then `after=head` begins at its end."""
        kinds, types = tuple(stream_type or ()), tuple(type or ())
        filters: dict[str, Any] = {"tenant": tenant, "stream_types": kinds, "types": types, "run_id": run_id}
        if wants_events(request):
            start = last_seen(request, None if after == "head" else after)
            if start is None and after == "head":
                start = await log.head()

            def wanted(recorded: Recorded) -> bool:
                return (
                    (not kinds or recorded.stream.type in kinds)
                    and (not types or recorded.type in types)
                    and run_id in {None, recorded.run_id}
                )

            def catch_up(cursor: Cursor | None) -> AsyncIterator[Recorded]:
                return log.read(cursor, **filters)

            batches = server.feeds.follow(
                tenant, Follower(wanted=wanted), catch_up, start, server.options.heartbeat
            )
            return EventStream(as_text(batches, start))
        start = await log.head() if after == "head" else last_seen(request, after)
        async for page in log.pages(start, page=limit, **filters):
            found = [event_json(log, recorded) for recorded in page.events]
            return answer({"events": found, "next": str(page.cursor)})
        return answer({"events": [], "next": None if start is None else str(start)})

    @router.get("/log/events/{event_id}", response_model=EventShown)
    async def read_event(event_id: UUID, tenant: str = reads) -> Response:
        """One event, by its id."""
        for recorded in await log.find(tenant, event_id):
            version = recorded.version
            async for whole in log.stream(recorded.stream, from_version=version, to_version=version):
                return answer(event_json(log, whole))
        raise Problem(404, "event_not_found", f"There is no event {event_id} of tenant {tenant!r}.")

    @router.get("/streams/{type:id}/{id:id}", response_model=EventsPage)
    async def read_stream(
        type: str,
        id: str,
        tenant: str = reads,
        after_version: Annotated[int, Query(ge=0)] = 0,
        to_version: Annotated[int | None, Query(ge=1)] = None,
        at: At = None,
        limit: Limit = 100,
    ) -> Response:
        """The events of a stream; up to a version, or as it was recorded by a time."""
        stream = Stream(check_name("stream type", type), check_id("stream id", id), tenant)
        found = [
            event_json(log, recorded)
            async for recorded in log.stream(
                stream, from_version=after_version + 1, to_version=to_version, until=at, limit=limit
            )
        ]
        if not found and not await log.version(stream):
            raise Problem(404, "stream_not_found", f"There is no stream {stream}.")
        return answer({"events": found, "next": str(found[-1]["version"]) if len(found) == limit else None})

    return router

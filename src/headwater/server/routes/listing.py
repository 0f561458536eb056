"""`GET /api/v1/runs`: the list of runs, a page at a time, or followed as it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from headwater.errors import RunNotFound
from headwater.events.envelope import Recorded
from headwater.log.cursor import Cursor
from headwater.runs.machines import RunStatus
from headwater.runs.plain import summary_json
from headwater.runs.rows import LIST, STREAM_TYPE
from headwater.server.body import PlainRoute, answer, dumps
from headwater.server.feed import Follower
from headwater.server.routes.parameters import Limit
from headwater.server.serving import Server
from headwater.server.sse import MEDIA as EVENTS
from headwater.server.sse import STILL_HERE, EventStream, beginning, last_seen, wants_events
from headwater.server.wire import RunsPage


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/runs", tags=["runs"], route_class=PlainRoute)
    reads = server.gate.allow("read")

    @router.get("", response_model=RunsPage, responses={200: {"content": {EVENTS: {}}}})
    async def list_runs(
        request: Request,
        tenant: str = reads,
        workflow: Annotated[str | None, Query(description="One workflow.")] = None,
        status: Annotated[list[RunStatus] | None, Query(description="May be repeated.")] = None,
        before: Annotated[str | None, Query(description="Runs older than this one.")] = None,
        limit: Limit = 20,
        after: Annotated[
            str | None, Query(description="With text/event-stream: the cursor to go on from.")
        ] = None,
    ) -> Response:
        """Runs, the newest first. Accept `text/event-stream` to get each one that changes, as it changes."""
        if wants_events(request):
            start = last_seen(request, after) or await server.log.head()
            return EventStream(_changes(server, tenant, start, workflow))
        place: tuple[int, str] | None = None
        if before is not None:
            rows = await server.log.backend.entries(tenant, LIST, keys=[before], limit=1)
            if not rows:
                raise RunNotFound(before, tenant)
            place = (rows[0].at, before)
        found = await server.runs.list(
            tenant, workflow=workflow, status=status or (), before=place, limit=limit
        )
        more = found[-1].run if len(found) == limit else None
        return answer({"runs": [summary_json(one) for one in found], "next": more})

    return router


async def _changes(server: Server, tenant: str, start: Cursor, workflow: str | None) -> AsyncGenerator[bytes]:
    """Each run that has changed, as it is now; many changes of one run at once are told once."""
    log = server.log

    async def catch_up(after: Cursor | None) -> AsyncIterator[Recorded]:
        async for recorded in log.read(after, tenant=tenant, stream_types=(STREAM_TYPE,)):
            yield recorded

    follower = Follower(wanted=lambda recorded: recorded.stream.type == STREAM_TYPE)
    yield beginning(start)
    async for batch in server.feeds.follow(tenant, follower, catch_up, start, server.options.heartbeat):
        if not batch:
            yield STILL_HERE
            continue
        runs = list(dict.fromkeys(told.recorded.stream.id for told in batch))
        found = await server.runs.list(tenant, workflow=workflow, runs=runs, limit=len(runs))
        cursor = str(log.cursor(batch[-1].recorded)).encode()
        texts = [b"event: run\ndata: %b\n\n" % dumps(summary_json(one)) for one in reversed(found)]
        yield b"".join([b"id: %b\n" % cursor, *texts]) if texts else b"id: %b\n\n" % cursor

"""`/api/v1/runs/{run}`: a run now and then, its parts, its events, its result; cancel it, release it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from headwater.errors import RunHeldError
from headwater.events.envelope import Recorded
from headwater.log.cursor import Cursor
from headwater.log.plain import event_json
from headwater.runs.events import RunCancelled, RunCompleted, RunFailed, RunHeld
from headwater.runs.history_file import fact_of
from headwater.runs.plain import line_json, state_json
from headwater.runs.protocol import run_event
from headwater.runs.reading import RunEnd
from headwater.runs.rows import run_stream
from headwater.runs.timeline import timeline
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer
from headwater.server.feed import Follower
from headwater.server.routes.parameters import At, IdempotencyKey, Limit, Version
from headwater.server.serving import Server
from headwater.server.sse import MEDIA as EVENTS
from headwater.server.sse import EventStream, as_text, last_seen, wants_events
from headwater.server.wire import CancelAsked, Done, EventsPage, RunResult

_ENDS = ("run_completed", "run_failed", "run_cancelled", "run_held")
Patience = Annotated[float, Query(ge=0, le=300, description="Seconds to wait for it.")]


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/runs/{run:id}", tags=["runs"], route_class=PlainRoute)
    reads, writes = server.gate.allow("read"), server.gate.allow_who("write")
    runs = server.runs

    async def shown(run: str, tenant: str, version: int | None, at: At) -> dict[str, Any]:
        return state_json(await runs.get(run, tenant, version=version, until=at))

    @router.get("")
    async def get(run: str, tenant: str = reads, version: Version = None, at: At = None) -> Response:
        """A run: now, at a version of its stream, or as it was recorded by a time."""
        return answer(await shown(run, tenant, version, at))

    def part(name: str, about: str) -> None:
        async def get_part(run: str, tenant: str = reads, version: Version = None, at: At = None) -> Response:
            return answer({name: (await shown(run, tenant, version, at))[name]})

        get_part.__doc__ = about
        get_part.__name__ = f"get_{name}"
        router.get(f"/{name}")(get_part)

    part("steps", "The steps of a run, by call.")
    part("hooks", "The hooks of a run, by call.")
    part("waits", "The timers of a run, by call.")

    @router.get("/timeline")
    async def get_timeline(run: str, tenant: str = reads, at: At = None) -> Response:
        """What the run's calls did, and when."""
        await runs.spec(run, tenant)
        history = [fact_of(recorded) async for recorded in runs.events(run, tenant, until=at)]
        return answer({"timeline": [line_json(line) for line in timeline(history)]})

    @router.get("/events", response_model=EventsPage, responses={200: {"content": {EVENTS: {}}}})
    async def events(
        request: Request,
        run: str,
        tenant: str = reads,
        after_version: Annotated[int, Query(ge=0)] = 0,
        limit: Limit = 100,
        at: At = None,
        after: Annotated[
            str | None, Query(description="With text/event-stream: the cursor to go on from.")
        ] = None,
    ) -> Response:
        """The events of a run. Accept `text/event-stream` to follow it, from its beginning or from a cursor."""
        await runs.spec(run, tenant)
        if wants_events(request):
            start = last_seen(request, after)
            return EventStream(as_text(_follow(server, run, tenant, start), start))
        stream = run_stream(run, tenant)
        found = [
            event_json(server.log, recorded)
            async for recorded in server.log.stream(
                stream, from_version=after_version + 1, until=at, limit=limit
            )
        ]
        return answer({"events": found, "next": str(found[-1]["version"]) if len(found) == limit else None})

    @router.get("/result", response_model=RunResult, responses={202: {"model": RunResult}})
    async def result(run: str, tenant: str = reads, timeout: Patience = 30.0) -> Response:
        """How the run ended, when it has. 202: it had not within `timeout` seconds; ask again."""
        ended = await _ended(server, run, tenant, timeout)
        if ended is None:
            listed = await runs.list(tenant, runs=[run])
            return answer({"run": run, "status": listed[0].status if listed else "running"}, 202)
        return answer(_result(run, ended))

    @router.post("/cancel", response_model=Done)
    async def cancel(
        run: str, asked: CancelAsked | None = None, who: Who = writes, key: IdempotencyKey = None
    ) -> Response:
        """Ask a run to end; asking again changes nothing. It may clean up first."""
        del key  # cancelling is idempotent as it is
        await runs.cancel(run, who.tenant, asked.reason if asked else None, who.actor)
        return answer({"changed": True})

    @router.post("/release", response_model=Done)
    async def release(run: str, who: Who = writes, key: IdempotencyKey = None) -> Response:
        """Let a held run go on."""
        await runs.resume(run, who.tenant, who.actor, key=key)
        return answer({"changed": True})

    return router


def _follow(server: Server, run: str, tenant: str, after: Cursor | None) -> Any:
    stream = run_stream(run, tenant)

    async def catch_up(cursor: Cursor | None) -> AsyncIterator[Recorded]:
        if cursor is None:
            async for recorded in server.log.stream(stream):
                yield recorded
            return
        newer: list[Recorded] = []  # from the back, so that coming back costs what is new and not the history
        async for recorded in server.log.stream(stream, backward=True):
            if recorded.position <= cursor.position:
                break
            newer.append(recorded)
        for recorded in reversed(newer):
            yield recorded

    return server.feeds.follow(tenant, Follower(stream), catch_up, after, server.options.heartbeat)


async def _ended(server: Server, run: str, tenant: str, timeout: float) -> RunEnd | None:
    """How a run ended; None if it has not in time. Looked at after it is watched, so that no end is missed."""
    follower = Follower(run_stream(run, tenant))
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    async with server.feeds.watching(tenant, follower):
        while True:
            if follower.behind:
                follower.behind = False
                ended = await server.runs.outcome(run, tenant)
                if ended is not None:
                    return ended
                listed = await server.runs.list(tenant, status="held", runs=[run])
                if listed:
                    held = (await server.runs.get(run, tenant)).held
                    if held is not None:
                        raise RunHeldError(run, held.reason, held.message)
            for told in follower.taken():
                if told.recorded.type in _ENDS:
                    match run_event(told.recorded):
                        case RunHeld(reason=reason, message=message):
                            raise RunHeldError(run, reason, message)
                        case RunCompleted() | RunFailed() | RunCancelled() as ended:
                            return ended
                        case _:
                            pass
            if follower.behind or follower.buffer:
                continue
            if server.feeds.closing or not await follower.wait(until - loop.time()):
                return None


def _result(run: str, ended: RunEnd) -> RunResult:
    match ended:
        case RunCompleted(output=output):
            return RunResult(run=run, status="completed", output=output)
        case RunFailed(error=error):
            return RunResult(run=run, status="failed", error=error)
        case RunCancelled(reason=reason):
            return RunResult(run=run, status="cancelled", reason=reason)

"""`/api/v1/projections`: how far they are, and their states. A server folds nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request, Response

from headwater.errors import ProjectionUnknown
from headwater.projections.current import in_use, state_in_use
from headwater.projections.open import store_for
from headwater.projections.projection import Projection
from headwater.projections.stores import Key, Store
from headwater.projections.summary import COUNTED, Summary, as_fields, parked_fields, summaries
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer, dumps
from headwater.server.problems import Problem
from headwater.server.serving import Server
from headwater.server.sse import BEGIN, STILL_HERE, EventStream, wants_events
from headwater.server.sse import MEDIA as EVENTS
from headwater.server.wire import ProjectionShown, ProjectionsShown, StateShown

_ROUND = 0.5


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/projections", tags=["projections"], route_class=PlainRoute)
    reads, operates = server.gate.allow("read"), server.gate.allow_operator()

    @router.get("", response_model=ProjectionsShown)
    async def list_projections(operator: Who = operates) -> Response:
        """Every projection: how far it is, and what is parked."""
        del operator
        found = {one.name: one for one in await summaries(server.log, store_for(server.log))}
        for name in server.app.projections.keys() - found.keys():
            found |= {one.name: one for one in await summaries(server.log, store_of(server, name), name)}
        return answer({"projections": [as_fields(found[name]) for name in sorted(found)]})

    @router.get("/{name:id}", response_model=ProjectionShown, responses={200: {"content": {EVENTS: {}}}})
    async def get_projection(request: Request, name: str, operator: Who = operates) -> Response:
        """One projection, with its parked keys. Accept `text/event-stream` to see it get on, as while it is rebuilt."""
        del operator
        summary = await summary_of(server, name)
        if wants_events(request):
            return EventStream(_progress(server, store_of(server, name), name))
        store = store_of(server, name)
        live = await in_use(store, name)
        if live is None:
            raise ProjectionUnknown(name)
        rows = await store.parked(name, live.generation, limit=COUNTED)
        return answer({**as_fields(summary), "keys": [parked_fields(row) for row in rows]})

    @router.get("/{name:id}/states/{key:id}", response_model=StateShown)
    async def get_state(name: str, key: str, tenant: str = reads) -> Response:
        """A state, as far as the projection is."""
        store = store_of(server, name)
        if await in_use(store, name) is None:
            raise ProjectionUnknown(name)
        row = await state_in_use(store, name, Key(tenant, key))
        if row is None or row.state is None:
            raise Problem(404, "state_not_found", f"Projection {name!r} has no state of key {key!r}.")
        state = json.loads(row.state)
        return answer({"key": key, "position": row.position, "parked": row.parked or None, "state": state})

    return router


def store_of(server: Server, name: str) -> Store:
    """Where a projection's states are."""
    declared: Projection[Any] | None = server.app.projections.get(name)
    return store_for(server.log) if declared is None else declared.store(server.log)


async def summary_of(server: Server, name: str) -> Summary:
    found = await summaries(server.log, store_of(server, name), name)
    if not found:
        raise ProjectionUnknown(name)
    return found[0]


async def _progress(server: Server, store: Store, name: str) -> AsyncGenerator[bytes]:
    """The projection whenever it has changed, looked at twice a second."""
    yield BEGIN
    said = b""
    silent = 0.0
    while not server.feeds.closing:
        found = await summaries(server.log, store, name)
        data = dumps(as_fields(found[0])) if found else b"null"
        silent += _ROUND
        if data != said:
            said, silent = data, 0.0
            yield b"event: projection\ndata: %b\n\n" % data
        elif silent >= server.options.heartbeat:
            silent = 0.0
            yield STILL_HERE
        await asyncio.sleep(_ROUND)

"""`POST /api/v1/runs`: start one run, or many in one round trip.

An Idempotency-Key stands for the run's id where none is given, so a start that is sent again finds its run, on any
server and after any crash; nothing else needs to be remembered. The same key with another workflow or input is refused.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from headwater.app.plain import bound, workflow_of
from headwater.errors import IdempotencyKeyReused, RunIdReused
from headwater.events.envelope import Stream
from headwater.events.ids import TimeOrderedIds, derived_id
from headwater.runs.creation import Created, NewRun
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer
from headwater.server.routes.parameters import IdempotencyKey
from headwater.server.serving import Server
from headwater.server.wire import NewRunAsked, NewRunsAsked, RunsStarted, RunStarted

Traceparent = Annotated[str | None, Header(max_length=200)]


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/runs", tags=["runs"], route_class=PlainRoute)
    ids = TimeOrderedIds()
    writes = server.gate.allow_who("write")

    def new_run(asked: NewRunAsked, who: Who, key: str | None, traceparent: str | None) -> NewRun:
        workflow = workflow_of(server.app, asked.workflow, asked.version)
        id = asked.id
        if id is None:
            id = str(ids.new() if key is None else derived_id(Stream("request", key, who.tenant), "run"))
        return NewRun(
            id=id,
            workflow=workflow.name,
            workflow_version=workflow.version,
            input=bound(workflow, asked.input, asked.arguments).input(),
            tenant=who.tenant,
            attributes=asked.attributes,
            actor=who.actor,
            traceparent=traceparent,
        )

    async def create(news: list[NewRun], key: str | None) -> list[Created]:
        try:
            return await server.runs.create(*news)
        except RunIdReused:
            if key is None:
                raise
            raise IdempotencyKeyReused(key) from None

    @router.post("", status_code=201, response_model=RunStarted, responses={200: {"model": RunStarted}})
    async def start(
        asked: NewRunAsked, who: Who = writes, key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> Response:
        """Start a run; durable when it is answered. 201: it is new; 200: it was there already."""
        new = new_run(asked, who, key, traceparent)
        [made] = await create([new], key if asked.id is None else None)
        return answer(_started(made), 201 if made.new else 200)

    @router.post("/batch", status_code=201, response_model=RunsStarted)
    async def start_all(
        asked: NewRunsAsked, who: Who = writes, key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> Response:
        """Start many runs in one round trip. One that is refused does not keep the others from being started."""
        keys = [None if key is None else f"{key}/{number}" for number in range(len(asked.runs))]
        news = [new_run(one, who, of, traceparent) for one, of in zip(asked.runs, keys, strict=True)]
        made = await create(news, key)
        return answer(RunsStarted(runs=[_started(one) for one in made]), 201)

    return router


def _started(made: Created) -> RunStarted:
    return RunStarted.model_construct(
        run=made.run, workflow=made.event.workflow, version=made.event.workflow_version, new=made.new
    )

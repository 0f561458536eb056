"""`POST /api/v1/runs`: start one run, or many in one round trip.

An Idempotency-Key stands for the run's id where none is given, so a start that is sent again finds its run, on any
server and after any crash; nothing else needs to be remembered. The same key with another workflow or input is refused.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from headwater.app.plain import bound, workflow_of
from headwater.errors import IdempotencyKeyReused, RunIdReused
from headwater.events.envelope import Stream
from headwater.events.ids import TimeOrderedIds, derived_id
from headwater.runs.creation import Created, NewRun
from headwater.server.access.gate import Who
from headwater.server.body import PlainRequest, PlainRoute, answer
from headwater.server.problems import Problem
from headwater.server.routes.parameters import MOST_KEY, IdempotencyKey
from headwater.server.serving import Server
from headwater.server.wire import NewRunAsked, NewRunsAsked, RunsStarted, RunStarted
from headwater.telemetry import tracing

MOST_TRACE = 200
Traceparent = Annotated[str | None, Header(max_length=MOST_TRACE)]


class Starting:
    """Starts runs for requests."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ids = TimeOrderedIds()

    async def start(self, asked: NewRunAsked, who: Who, key: str | None, trace: str | None) -> Response:
        """Start one run."""
        new = self._new(asked, who, key, tracing.current() or trace)
        [made] = await self._create([new], key if asked.id is None else None)
        return answer(_started(made), 201 if made.new else 200)

    async def start_all(self, asked: NewRunsAsked, who: Who, key: str | None, trace: str | None) -> Response:
        """Start many."""
        keys = [None if key is None else f"{key}/{number}" for number in range(len(asked.runs))]
        trace = tracing.current() or trace
        news = [self._new(one, who, of, trace) for one, of in zip(asked.runs, keys, strict=True)]
        made = await self._create(news, key)
        return answer(RunsStarted(runs=[_started(one) for one in made]), 201)

    async def quickly(self, request: PlainRequest) -> Response:
        """Start one run, from the request itself (see `quick`)."""
        who = await self._server.gate.who(request, "write")
        key, trace = request.headers.get("idempotency-key"), request.headers.get("traceparent")
        if key is not None and not 0 < len(key) <= MOST_KEY:
            raise Problem(422, "request_refused", f"An Idempotency-Key has 1 to {MOST_KEY} characters.")
        try:
            asked = NewRunAsked.model_validate(await request.json())
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False, include_input=False)) from None
        return await self.start(asked, who, key, trace if trace and len(trace) <= MOST_TRACE else None)

    def _new(self, asked: NewRunAsked, who: Who, key: str | None, trace: str | None) -> NewRun:
        workflow = workflow_of(self._server.app, asked.workflow, asked.version)
        id = asked.id
        if id is None:
            id = str(
                self._ids.new() if key is None else derived_id(Stream("request", key, who.tenant), "run")
            )
        return NewRun(
            id=id,
            workflow=workflow.name,
            workflow_version=workflow.version,
            input=bound(workflow, asked.input, asked.arguments)[1],
            tenant=who.tenant,
            attributes=asked.attributes,
            actor=who.actor,
            traceparent=trace,
        )

    async def _create(self, news: list[NewRun], key: str | None) -> list[Created]:
        try:
            return await self._server.runs.create(*news)
        except RunIdReused:
            if key is None:
                raise
            raise IdempotencyKeyReused(key) from None


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/runs", tags=["runs"], route_class=PlainRoute)
    starting = Starting(server)
    writes = server.gate.allow_who("write")

    @router.post("", status_code=201, response_model=RunStarted, responses={200: {"model": RunStarted}})
    async def start(
        asked: NewRunAsked, who: Who = writes, key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> Response:
        """Start a run; durable when it is answered. 201: it is new; 200: it was there already."""
        return await starting.start(asked, who, key, traceparent)

    @router.post("/batch", status_code=201, response_model=RunsStarted)
    async def start_all(
        asked: NewRunsAsked, who: Who = writes, key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> Response:
        """Start many runs in one round trip. One that is refused does not keep the others from being started."""
        return await starting.start_all(asked, who, key, traceparent)

    return router


def _started(made: Created) -> RunStarted:
    return RunStarted.model_construct(
        run=made.run, workflow=made.event.workflow, version=made.event.workflow_version, new=made.new
    )

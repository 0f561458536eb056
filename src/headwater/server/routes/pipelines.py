"""`/api/v1/pipelines`: what the app declares, how its reactors fare, and the aggregates as the log has them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import TypeAdapter

from headwater.pipelines.summary import pipeline_json, pipeline_of, with_progress
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer
from headwater.server.routes.parameters import At, Version
from headwater.server.serving import Server
from headwater.server.wire import AggregateShown, PipelinesShown

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/pipelines", tags=["pipelines"], route_class=PlainRoute)
    reads, operates = server.gate.allow("read"), server.gate.allow_operator()

    @router.get("", response_model=PipelinesShown)
    async def list_pipelines(tenant: str = reads) -> Response:
        """The pipelines that the app declares."""
        del tenant  # they are the same for all
        shown = [pipeline_json(pipeline_of(server.app, name)) for name in sorted(server.app.pipelines)]
        return answer({"pipelines": shown})

    @router.get("/{name:id}")
    async def get_pipeline(name: str, operator: Who = operates) -> Response:
        """One pipeline, with how far its projections and reactors are, and how many commands wait."""
        del operator
        return answer(await with_progress(server.log, pipeline_of(server.app, name)))

    @router.get("/{name:id}/aggregates/{id:id}", response_model=AggregateShown)
    async def get_aggregate(
        name: str, id: str, tenant: str = reads, version: Version = None, at: At = None
    ) -> Response:
        """The state of an aggregate as the log has it: now, at a version, or as it was recorded by a time."""
        folded = await pipeline_of(server.app, name).on(server.log, tenant).fetch(id, version=version, at=at)
        state = _ANY.dump_python(folded.state, mode="json")
        return answer({"aggregate": id, "version": folded.version, "state": state})

    return router

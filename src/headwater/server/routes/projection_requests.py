"""`/api/v1/projections/{name}/...`: what a projection's workers are asked, and do at their next turn."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from headwater.errors import ProjectionUnknown
from headwater.projections.rebuild import ask_rebuild
from headwater.projections.stores import FROM_START, GO_ON
from headwater.server.access.gate import Who
from headwater.server.body import PlainRoute, answer
from headwater.server.routes.parameters import IdempotencyKey
from headwater.server.routes.projections import store_of, summary_of
from headwater.server.serving import Server
from headwater.server.wire import Asked, Done

OneKey = Annotated[str | None, Query(description="Only the state of this key.")]
OneTenant = Annotated[str | None, Query(description="Only this tenant's states.")]


def routes(server: Server) -> APIRouter:
    router = APIRouter(prefix="/projections", tags=["projections"], route_class=PlainRoute)
    operates = server.gate.allow_operator()

    def paused(verb: str, about: str, *, value: bool) -> None:
        async def ask(name: str, operator: Who = operates, key: IdempotencyKey = None) -> Response:
            del operator, key
            if not await store_of(server, name).pause(name, paused=value):
                raise ProjectionUnknown(name)
            return answer({"changed": True})

        ask.__doc__, ask.__name__ = about, verb
        router.post(f"/{{name:id}}/{verb}", response_model=Done)(ask)

    paused("pause", "Have a projection stand still. Its states stay readable, as they are.", value=True)
    paused("resume", "Have a paused projection go on where it stopped.", value=False)

    @router.post("/{name:id}/redrive", response_model=Asked)
    async def redrive(
        name: str,
        operator: Who = operates,
        tenant: OneTenant = None,
        one: OneKey = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Have parked keys go on from the event that they failed at."""
        del operator, key
        await summary_of(server, name)
        return answer({"asked": await store_of(server, name).request(name, GO_ON, tenant=tenant, key=one)})

    @router.post("/{name:id}/rebuild", response_model=Asked)
    async def rebuild(
        name: str,
        operator: Who = operates,
        tenant: OneTenant = None,
        one: OneKey = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Have a worker build states anew: all of them, beside those in use; or a tenant's, or one key's, in place."""
        del operator, key
        summary = await summary_of(server, name)
        store = store_of(server, name)
        if tenant is None and one is None:
            await ask_rebuild(store, summary.name)
            return answer({"asked": 1})
        return answer({"asked": await store.request(name, FROM_START, tenant=tenant, key=one)})

    return router

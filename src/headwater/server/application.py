"""The application: every route, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import cast

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from headwater.app import Headwater
from headwater.app.domain import Serving
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.runs.events import registry_of
from headwater.server import page, problems
from headwater.server.access.events import register_access_events
from headwater.server.guard import Guard
from headwater.server.options import ServerOptions
from headwater.server.quick import Quick
from headwater.server.routes import (
    about,
    hooks,
    listing,
    log,
    one_run,
    pipelines,
    projection_requests,
    projections,
    public,
    starting,
    tenants,
)
from headwater.server.serving import Server
from headwater.server.traced import Traced
from headwater.server.wire import ProblemShown

API = "/api/v1"


def server_registry(app: Headwater) -> Registry:
    """The events that a server of an app reads and writes."""
    return register_access_events(registry_of(app))


def create_server(app: Headwater, log: Log, options: ServerOptions | None = None) -> tuple[ASGIApp, Server]:
    """An ASGI application over a log that is open, and its parts. It starts no background work."""
    server = Server(app, log, options or ServerOptions())
    api = create_api(server)
    quick = Quick(api, {("POST", f"{API}/runs"): starting.Starting(server).quickly})
    return Guard(Traced(quick), server.options), server


def create_api(server: Server) -> FastAPI:
    """The routes, without the guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        server.feeds.close()

    api = FastAPI(
        title=f"Headwater: {server.app.name}",
        version=version("headwater"),
        lifespan=lifespan,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": ProblemShown, "content": {problems.MEDIA: {}}}},
    )
    problems.install(api)
    v1 = APIRouter(prefix=API)
    for part in (
        starting,
        listing,
        one_run,
        hooks,
        log,
        projections,
        projection_requests,
        pipelines,
        about,
        tenants,
    ):
        v1.include_router(part.routes(server))
    for name, domain in server.app.domains.items():
        if domain.routes is not None:
            v1.include_router(domain.routes(cast("Serving", server)), prefix=f"/{name}")
    api.include_router(v1)
    api.include_router(public.routes(server))
    api.include_router(about.health(server))
    api.include_router(page.routes())
    return api

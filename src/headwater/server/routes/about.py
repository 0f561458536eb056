"""What there is: the app's workflows, the workers; and whether the server is well."""

from __future__ import annotations

import asyncio
from urllib.error import URLError
from urllib.request import urlopen

import orjson
from fastapi import APIRouter, Response

from headwater.events.clock import from_us
from headwater.server.body import PlainRoute, answer
from headwater.server.problems import Problem
from headwater.server.serving import Server
from headwater.server.wire import Workers, Workflows

_PATIENCE = 5.0
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def routes(server: Server) -> APIRouter:
    router = APIRouter(tags=["about"], route_class=PlainRoute)
    reads, operates = server.gate.allow("read"), server.gate.allow_operator()

    @router.get("/workflows", response_model=Workflows)
    async def workflows(tenant: str = reads) -> Response:
        """The workflows that can be started here."""
        del tenant  # they are the same for all
        return answer(
            {
                "workflows": [
                    {"name": name, "version": version, "about": workflow.__doc__}
                    for (name, version), workflow in sorted(server.app.workflows.items())
                ]
            }
        )

    @router.get("/workers", response_model=Workers)
    async def workers(operator: object = operates) -> Response:
        """The workers that are enrolled: whether they are alive, what they serve, how many runs they own."""
        del operator
        now = await server.log.backend.now_us()
        held = await server.log.backend.held()
        shown: list[object] = []
        for worker in await server.log.backend.workers():
            data = orjson.loads(worker.data)
            shown.append(
                {
                    "worker": worker.id,
                    "alive": worker.beat_at + worker.lease_us > now,
                    "beat_at": from_us(worker.beat_at).isoformat(),
                    "lease": worker.lease_us / 1_000_000,
                    "place": worker.place,
                    "serves": data.get("labels", []),
                    "queues": data.get("queues", []),
                    "runs": held.get(worker.id, 0),
                }
            )
        return answer({"workers": shown})

    return router


def health(server: Server) -> APIRouter:
    """What a supervisor asks, without a key: it tells nothing but whether the server is well."""
    router = APIRouter(tags=["health"])
    operates = server.gate.allow_operator()

    @router.get("/healthz")
    async def healthz() -> Response:
        """Whether this process answers."""
        return answer({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Whether the log can be reached, within two seconds."""
        async with asyncio.timeout(2):
            await server.log.head()
        return answer({"status": "ok"})

    @router.get("/workers/metrics")
    async def metrics(operator: object = operates) -> Response:
        """The metrics of the workers, as Prometheus reads them."""
        del operator
        url = server.options.metrics_url
        try:
            text = await asyncio.to_thread(_fetch, url)
        except (URLError, OSError, ValueError) as error:
            raise Problem(
                503,
                "worker_down",
                f"No worker answers at {url}: {error}. Start one, or set HEADWATER_WORKER_METRICS_URL.",
            ) from None
        return Response(text, media_type=_METRICS)

    return router


def _fetch(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it is no http address")
    with urlopen(url, timeout=_PATIENCE) as answered:  # noqa: S310  (its scheme was looked at; it is a setting)
        data: bytes = answered.read()
        return data

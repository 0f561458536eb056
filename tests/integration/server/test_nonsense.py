"""Requests that a machine makes up from the server's own description: none is a defect, and nothing is kept of them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.server.application import create_server, server_registry
from headwater.server.options import ServerOptions
from headwater.server.serve import listen
from tests.integration.server.shop import app

EXAMPLES = int(os.environ.get("HEADWATER_TEST_EXAMPLES", "25"))
"""How many requests for each route."""


class Running:
    """A server in a thread of its own, since the generator of requests is not async."""

    def __init__(self) -> None:
        self.address = ""
        self.followers = -1
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with Log(MemoryBackend(), server_registry(app)) as log:
            application, server = create_server(app, log, ServerOptions(port=0))
            await listen(application, server, self._stop, self._listens)
            self.followers = server.feeds.followers

    def _listens(self, address: str) -> None:
        self.address = address
        self._listening.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with Running() as running:
        yield running
    assert running.followers == 0


OK_TROUBLE = {"/workers/metrics"}
"""What may be down: there is no worker here."""


@pytest.mark.timeout(120 + 40 * EXAMPLES)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_is_a_defect(running: Running, mode: GenerationMode) -> None:
    """Requests that fit the description, and such that do not."""
    described = schemathesis.openapi.from_url(f"{running.address}/api/v1/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        try:
            given(operation.as_strategy(generation_mode=mode))(settled(running))()
        except Unsatisfiable:  # it takes nothing that could be wrong
            assert mode is GenerationMode.NEGATIVE


def settled(running: Running) -> Any:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def sent(case: Any) -> None:
        if case.path.endswith("/result"):
            case.query = {**(case.query or {}), "timeout": 0}
        if case.headers:
            case.headers.pop("Authorization", None)  # a made-up key would keep the rest from being looked at
        answer = case.call(base_url=running.address, timeout=20)
        assert answer.status_code < 500 or case.path in OK_TROUBLE, (case.path, answer.text)
        if answer.status_code >= 400:
            kind = str(answer.headers["content-type"])
            assert "application/problem+json" in kind or "text/plain" in kind, kind

    return sent

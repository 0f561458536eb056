"""Traces: from a request over its run to the run's steps, here and on other workers; and nothing of it while off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headwater import Headwater
from headwater.log.log import Log
from headwater.telemetry import tracing
from tests.integration.server.listening import serving

app = Headwater("traced")
OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@app.step
async def here(n: int) -> int:
    with trace.get_tracer("mine").start_as_current_span("my own"):
        return n


@app.step(queue="elsewhere")
async def there(n: int) -> int:
    if n < 0:
        raise ValueError("below zero")
    return n


@app.workflow
async def both(n: int) -> int:
    return await here(n) + await there(n)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace._TRACER_PROVIDER = provider
    tracing.turn_on(provider)
    yield exporter
    tracing.turn_on(None)


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def test_a_trace_goes_from_the_request_to_the_steps(memory: Log, spans: InMemorySpanExporter) -> None:
    async with serving(app, memory, worker=True) as place:
        asked = {"workflow": "both", "input": {"n": 1}}
        run = (await place.http.post("/api/v1/runs", json=asked, headers={"traceparent": OUTSIDE})).json()[
            "run"
        ]
        assert (await place.http.get(f"/api/v1/runs/{run}/result")).json()["output"] == 2
    found = by_name(spans)
    request, of_run = found["POST /api/v1/runs"], found["run both"]
    assert parent(request) == int(OUTSIDE.split("-")[2], 16)
    assert request.attributes is not None
    assert request.attributes["http.response.status.code"] == 201
    assert parent(of_run) == request.context.span_id
    for step in ("step here", "step there"):
        assert parent(found[step]) == of_run.context.span_id
    assert parent(found["my own"]) == found["step here"].context.span_id
    ours = {name for name, span in found.items() if span.context.trace_id == request.context.trace_id}
    assert {"POST /api/v1/runs", "run both", "step here", "step there", "my own"} <= ours


async def test_what_fails_is_marked(memory: Log, spans: InMemorySpanExporter) -> None:
    async with app.connect(log=memory, worker=True) as hw:
        with trace.get_tracer("mine").start_as_current_span("caller"):
            run = await hw.start(both, -1, id="r")
        with pytest.raises(ValueError, match="below zero"):
            await run.result(timeout=30)
    found = by_name(spans)
    assert parent(found["run both"]) == found["caller"].context.span_id
    assert not found["step there"].status.is_ok
    assert not found["run both"].status.is_ok


def test_nothing_of_it_is_imported_while_it_is_off() -> None:
    program = (
        "import sys, headwater.cli, headwater.worker.start, headwater.telemetry.tracing as t; t.begin('x');"
        "bad = [m for m in sys.modules if m.startswith('opentelemetry')]; sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

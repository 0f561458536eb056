"""Traces: spans from the request that starts a run, over the run, to its steps, in whatever process each of them is.

Off, unless a program turns it on or the environment says where to send them (`OTEL_EXPORTER_OTLP_ENDPOINT`). While it
is off, nothing of OpenTelemetry is imported, and each place that would begin a span asks one variable.

What joins them across processes is the W3C `traceparent`: a request's is kept in its run's first event, a run's span
goes on from there, and a step's from the run's. A run has a span for each time that it is taken into memory; one that
waits for days has none while it waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Literal, cast

from headwater.errors import SettingRefused

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_tracer: Any = None


class Span:
    """A span under way. It is the current one of its task, until it has ended."""

    __slots__ = ("_span", "_token", "traceparent")

    def __init__(self, span: Any, token: Any) -> None:
        self._span, self._token = span, token
        context = span.get_span_context()
        self.traceparent: str = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def say(self, **attributes: str | int) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("_", "."), value)

    def end(self, error: str | None = None) -> None:
        """It has ended; with an error, it failed."""
        if error is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR, error)
        self._span.end()
        if self._token is not None:
            from opentelemetry.context import detach

            detach(self._token)
            self._token = None


def is_on() -> bool:
    return _tracer is not None


def begin(
    name: str,
    parent: str | None = None,
    *,
    kind: Literal["internal", "server", "consumer"] = "internal",
    current: bool = False,
    **attributes: str | int,
) -> Span | None:
    """Begin a span; None while tracing is off. `parent` is a traceparent; without one, the current span."""
    if _tracer is None:
        return None
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    under = None
    if parent is not None:
        under = TraceContextTextMapPropagator().extract({"traceparent": parent}, context.Context())
    kinds = {
        "internal": trace.SpanKind.INTERNAL,
        "server": trace.SpanKind.SERVER,
        "consumer": trace.SpanKind.CONSUMER,
    }
    said = {key.replace("_", "."): value for key, value in attributes.items()}
    span = _tracer.start_span(name, context=under, kind=kinds[kind], attributes=said)
    token = context.attach(trace.set_span_in_context(span)) if current else None
    return Span(span, token)


def current() -> str | None:
    """The traceparent of the current span, the program's own among them; None while tracing is off."""
    if _tracer is None:
        return None
    from opentelemetry import trace

    span = trace.get_current_span()
    return Span(span, None).traceparent if span.get_span_context().is_valid else None


def turn_on(provider: Any) -> None:
    """Trace by an OpenTelemetry `TracerProvider`; None turns it off."""
    global _tracer  # noqa: PLW0603  (the one variable that every place asks)
    _tracer = None if provider is None else provider.get_tracer("headwater")


def set_up(service: str, *, everything: bool = False) -> Callable[[], None]:
    """Do as the environment says; what is to be called at the end, so that the last spans are sent.

    With `everything`, what the program traces itself is sent too.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return _nothing
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingRefused(
            _ENDPOINTS[0], f"set, but {error}", "it after `pip install headwater[otel]`"
        ) from None
    named = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": named}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    turn_on(provider)
    if everything:
        trace.set_tracer_provider(provider)

    def end() -> None:
        turn_on(None)
        cast("Any", provider).shutdown()

    return end


def _nothing() -> None:
    pass

"""OpenTelemetry traces of requests, sent by OTLP over HTTP; needs the packages of the extra ``otel``.

A request is a span, and what its engine and its commit took are spans in it. They carry the mount, the route and
the outcome; no path as it was asked for, no data, no token: what leaves the server is no secret. A ``traceparent``
header (W3C Trace Context) makes the request part of its client's trace.
"""

from __future__ import annotations

import time
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import __version__
from ..config import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from ...framework.routes import Route
    from ..config import ServerConfig
    from ..mounts import Mount
    from ..request import Incoming

_SECONDS = 3  # for a batch to be taken: the server's end waits for the last one
_PATH = "/v1/traces"  # OTLP specification, "OTLP/HTTP Request"


def tracing(config: ServerConfig, exporter: SpanExporter | None = None) -> Tracing | None:
    """What makes traces; None where no ``otlp_endpoint`` is configured. Raises ConfigError."""
    endpoint = config.telemetry.otlp_endpoint
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("telemetry: otlp_endpoint is the URL of a collector, such as http://127.0.0.1:4318")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError("telemetry: otlp_endpoint needs further packages: pip install 'caveau[otel]'") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "caveau", "service.version": __version__}))
    url = endpoint if parts.path.strip("/") else endpoint.rstrip("/") + _PATH
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=url, timeout=_SECONDS)))
    return Tracing(provider)


class Tracing:
    """Begins a span for each request."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("caveau", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, incoming: Incoming) -> RequestSpan:
        from opentelemetry.trace import SpanKind

        headers = incoming.headers
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        context = self._propagator.extract(carrier)
        attributes = {"caveau.request_id": incoming.id, "caveau.operation": incoming.op}
        span = self._tracer.start_span(incoming.op, context, SpanKind.SERVER, attributes)
        return RequestSpan(self._tracer, span)

    def close(self) -> None:
        """Send what has not been sent. Blocks: call it off the event loop."""
        self._provider.shutdown()


class RequestSpan:
    """The span of one request, told of its steps as they end."""

    __slots__ = ("_span", "_stepped", "_tracer")

    def __init__(self, tracer: Any, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._stepped = perf_counter()

    def handled(self, mount: Mount, route: Route, began: float) -> None:
        """The engine has answered; ``began``: by ``perf_counter``."""
        self._span.update_name(f"{route.op} {mount.point}{route.template}")
        self._span.set_attribute("http.route", f"/v1/{mount.point}{route.template}")
        self._span.set_attribute("caveau.mount", mount.point)
        self._span.set_attribute("caveau.mount_type", mount.entry.type)
        self._step(f"engine {mount.entry.type}", began)

    def committed(self) -> None:
        """What the request changed is durable."""
        self._step("commit", self._stepped)

    def end(self, error: BaseException | None) -> None:
        """``error``: what the request came to, if it was one; its text may be telling and stays here."""
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            if getattr(error, "status", 500) >= 500:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _step(self, name: str, began: float) -> None:
        from opentelemetry.trace import set_span_in_context

        now, self._stepped = time.time_ns(), perf_counter()
        start = now - int((self._stepped - began) * 1e9)
        self._tracer.start_span(name, set_span_in_context(self._span), start_time=start).end(now)

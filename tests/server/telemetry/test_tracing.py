"""Traces: which spans a request makes, and what never leaves with them."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from caveau.framework.errors import PermissionDenied
from caveau.server.config import ConfigError, ServerConfig, TelemetryConfig
from caveau.server.telemetry.tracing import Tracing, tracing
from caveau.tests.server.harness import Server
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def configured(endpoint):
    return ServerConfig(telemetry=TelemetryConfig(otlp_endpoint=endpoint))


@pytest.fixture
def collecting():
    """What keeps the spans that have ended, and what makes them; they start threads and read files."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, Tracing(provider)


@pytest.fixture
async def traced(collecting):
    """A server and the spans that it has ended."""
    server = await Server().start(("kv-v2",))
    exporter, server.core.tracing = collecting
    return server, exporter


async def test_a_write_is_a_span_with_its_engine_and_its_commit(traced):
    server, exporter = traced
    await server.call("update", "kv-v2/data/a", {"data": {"x": 1}}, headers={"traceparent": PARENT})
    engine, commit, request = exporter.get_finished_spans()
    assert (engine.name, commit.name) == ("engine kv", "commit")
    assert request.name == "update kv-v2/data/{path:path}"
    assert request.attributes["http.route"] == "/v1/kv-v2/data/{path:path}"
    assert request.attributes["caveau.request_id"].startswith("request-")
    assert (engine.parent.span_id, commit.parent.span_id) == (request.context.span_id, request.context.span_id)
    assert f"{request.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{request.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert request.start_time <= engine.start_time <= engine.end_time <= commit.end_time <= request.end_time


async def test_a_read_has_no_commit(traced):
    server, exporter = traced
    await server.call("update", "kv-v2/data/a", {"data": {"x": 1}})
    exporter.clear()
    await server.call("read", "kv-v2/data/a")
    assert [span.name for span in exporter.get_finished_spans()] == ["engine kv", "read kv-v2/data/{path:path}"]


async def test_refusals_are_no_errors_of_the_server(traced):
    server, exporter = traced
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v2/data/a", token="none")
    (span,) = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "PermissionDenied"
    assert span.status.status_code is StatusCode.UNSET


async def test_nothing_secret_leaves(traced):
    server, exporter = traced
    token = await server.token(["default"])
    await server.call("update", "kv-v2/data/hidden-name", {"data": {"password": "hidden-value"}})
    await server.call("update", "auth/token/lookup", {"token": token})
    await server.call("read", "kv-v2/data/hidden-name", headers={"tracestate": "x", "traceparent": "hidden-nonsense"})
    text = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "engine kv" in text
    for secret in ("hidden", server.root, token):
        assert secret not in text


async def test_without_tracing_nothing_is_made():
    server = await Server().start()
    assert server.core.tracing is None
    assert tracing(ServerConfig()) is None


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "grpc://127.0.0.1", "http://"])
def test_an_endpoint_that_is_no_url(endpoint):
    with pytest.raises(ConfigError, match="otlp_endpoint is the URL of a collector"):
        tracing(configured(endpoint))


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'caveau\[otel\]'"):
        tracing(configured("http://127.0.0.1:4318"))


def test_a_collector_gets_them():
    asked = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not a word."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.handle_request, daemon=True).start()
        traces = tracing(configured(f"http://127.0.0.1:{collector.server_port}"))
        assert traces is not None
        traces._tracer.start_span("read kv/").end()
        traces.close()
    ((path, body),) = asked
    assert path == "/v1/traces"
    assert b"caveau" in body

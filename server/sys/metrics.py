"""``sys/metrics`` and ``sys/in-flight-req``."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated

from ...framework import Field, NoParams, Params, Response, jsontext, read
from ...framework.clock import rfc3339
from ..request import CoreRequest
from ..telemetry import exposition, runtime
from ..telemetry.naming import Naming
from .base import SystemRoutes

_OPEN_METRICS = "application/openmetrics-text"  # what a Prometheus server asks for


class MetricsFormat(Params):
    format: Annotated[str, Field("prometheus, or empty for JSON.")] = ""


class MetricsRoutes(SystemRoutes):
    """Numbers about the server."""

    def _naming(self) -> Naming:
        return Naming(self.core.config.telemetry, socket.gethostname())

    @read("metrics")
    async def metrics(self, req: CoreRequest, p: MetricsFormat) -> Response:
        """Show the metrics of this node.

        JSON is about the last interval of ten seconds, the Prometheus text about the time since the server started.
        """
        prometheus = p.format == "prometheus" or (
            not p.format and req.headers.get("accept", "").startswith(_OPEN_METRICS)
        )
        if p.format not in ("", "prometheus"):
            return _plain(400, f'metric response format "{p.format[:64]}" unknown')
        if prometheus and not self.core.config.telemetry.prometheus_retention_time:
            return _plain(400, "prometheus is not enabled")
        memory = await asyncio.to_thread(runtime.memory)
        collected = exposition.collect(self.core.metrics, self._naming(), self.clock.time(), memory)
        if prometheus:
            text = await asyncio.to_thread(exposition.as_prometheus, collected)
            return Response(status=200, body=text, content_type=exposition.PROMETHEUS_TYPE)
        return Response(status=200, body=jsontext.dumps(exposition.as_json(collected)))

    @read("in-flight-req")
    async def in_flight(self, req: CoreRequest, p: NoParams) -> Response:
        """Show the requests that this node is answering."""
        found = {
            each.id: {
                "start_time": rfc3339(each.began),
                "client_remote_address": each.client,
                "request_path": each.path,
                "request_method": each.method,
                "client_id": "",
            }
            for each in self.core.under_way()
        }
        return Response(data=found, bare=True)


def _plain(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode(), content_type="text/plain")

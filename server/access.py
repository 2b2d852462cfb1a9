"""What is done around every answer when the configuration asks for it: names on it, a line in the log."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING

from ..framework.errors import InvalidRequest
from . import logs
from .edge import Edge, new_request_id
from .forwarded import client_address
from .log_levels import LEVELS
from .verbs import VERBS

if TYPE_CHECKING:
    from .answer import Answer
    from .config import ListenerConfig, ServerConfig
    from .connection import Handler
    from .http_request import HttpRequest

_log = logging.getLogger(__name__)
_LONGEST_PATH = 1024


def handler(edge: Edge, listener: ListenerConfig, config: ServerConfig, node: str = "") -> Handler:
    """What answers the requests of a listener: ``edge`` itself, if nothing is to be done around it.

    ``node``: this one's id, in a cluster."""
    chosen: Handler = edge.handle
    if config.log_requests_level != "off":
        chosen = _logging(edge, listener, LEVELS[config.log_requests_level])
    if config.enable_response_header_hostname:
        chosen = _naming(chosen, "X-Vault-Hostname", socket.gethostname())
    if node and config.enable_response_header_raft_node_id:
        chosen = _naming(chosen, "X-Vault-Raft-Node-Id", node)
    return chosen


def _naming(inner: Handler, header: str, name: str) -> Handler:
    async def handle(request: HttpRequest) -> Answer:
        answer = await inner(request)
        answer.headers[header] = name
        return answer

    return handle


def _logging(edge: Edge, listener: ListenerConfig, level: int) -> Handler:
    async def handle(request: HttpRequest) -> Answer:
        request_id = new_request_id()
        began = time.perf_counter()
        answer = await edge.handle(request, request_id)
        if _log.isEnabledFor(level):
            line = logs.values(
                request_id=request_id,
                request_method=VERBS.get(request.method, request.method),
                request_path=request.raw_path.partition("?")[0][:_LONGEST_PATH],
                status_code=answer.status,
                duration=f"{(time.perf_counter() - began) * 1000:.3f}ms",
                client_address=_client(request, listener),
            )
            _log.log(level, "completed_request", extra=line)
        return answer

    return handle


def _client(request: HttpRequest, listener: ListenerConfig) -> str:
    try:
        return client_address(request, listener)
    except InvalidRequest:  # it was refused for that
        return request.protocol.client

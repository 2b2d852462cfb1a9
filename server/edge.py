"""HTTP in, HTTP out: the one place that knows methods, headers, bodies and status codes."""

from __future__ import annotations

import asyncio
import html
import logging
import math
import os
import posixpath
import re
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import fields
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..framework import Response, jsontext
from ..framework.errors import (
    CaveauError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    RequestTooLarge,
    UnsupportedMediaType,
    UnsupportedOperation,
)
from ..framework.jsonlimits import LimitExceeded, Limits, Reader
from ..framework.wire import parse_bool, parse_duration
from .answer import Answer, Stream, errors
from .cors import METHODS
from .envelope import envelope, is_empty
from .forwarded import client_address, client_certificate
from .http_request import HttpRequest
from .replication_state import INCONSISTENT, INDEX, POLICIES, Index
from .request import Incoming
from .verbs import AS_LIST, AS_SCAN

if TYPE_CHECKING:
    from .config import ListenerConfig
    from .core import Core

_log = logging.getLogger(__name__)

_OPS = {
    "GET": "read", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
    AS_LIST: "list", AS_SCAN: "scan", "HEAD": "header",
}  # fmt: skip
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_HEAD_LIKE_GET = frozenset({"sys/health"})
DEFAULT_MAX_BODY = 32 << 20  # bytes
_SMALL = 16 << 10  # bytes: aiohttp never stops reading from a connection for them
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_MERGE_PATCH = "application/merge-patch+json"
_CLOSABLE = {
    "disable_unauthed_rekey_endpoints": frozenset(
        f"sys/{rekey}/{step}" for rekey in ("rekey", "rekey-recovery-key") for step in ("init", "update", "verify")
    ),
    "disable_unauthed_generate_root_endpoints": frozenset(
        {"sys/generate-root", "sys/generate-root/attempt", "sys/generate-root/update"}
    ),
}
"""What a listener can be told not to serve, although key shares and not tokens authorise it."""
_OPENED = {
    "unauthenticated_metrics_access": ("sys/metrics",),
    "unauthenticated_pprof_access": ("sys/pprof", "sys/pprof/"),
    "unauthenticated_in_flight_requests_access": ("sys/in-flight-req",),
}
"""What a listener can be told to answer without a token; a path that ends in a slash stands for those below."""
_OF_METRICS = frozenset({"sys/health", "sys/metrics"})
_REDACTED = {
    "redact_addresses": frozenset({"leader_address", "leader_cluster_address"}),
    "redact_cluster_name": frozenset({"cluster_name"}),
    "redact_version": frozenset({"version", "build_date"}),
}
_TELLING = frozenset({"sys/health", "sys/leader", "sys/seal-status"})
_STREAMED = frozenset({"sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"})
"""What takes a body that is no JSON, as long as it is and as long as it takes."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Edge:
    """Turns the HTTP requests of one listener into requests of the core, and responses into HTTP."""

    def __init__(self, core: Core, listener: ListenerConfig, *, between_nodes: bool = False) -> None:
        """``between_nodes``: the requests come from other nodes of the cluster, and are not passed on again."""
        self._core = core
        self._between_nodes = between_nodes
        self._listener = listener
        size = listener.max_request_size
        self._max_body = math.inf if size < 0 else size or DEFAULT_MAX_BODY
        self._reader = Reader(Limits(**{each.name: getattr(listener, each.name) for each in fields(Limits)}))
        self._pages = core.config.ui and listener.role != "metrics_only"
        self._guarded = listener.role == "metrics_only" or listener.require_request_header
        self._closed = frozenset[str]().union(*(paths for name, paths in _CLOSABLE.items() if getattr(listener, name)))
        self._opened = tuple(path for name, paths in _OPENED.items() if getattr(listener, name) for path in paths)
        self._redacted = frozenset[str]().union(*(keys for name, keys in _REDACTED.items() if getattr(listener, name)))

    async def handle(self, request: HttpRequest, request_id: str = "") -> Answer:
        """Answer one request; never raises."""
        request_id = request_id or new_request_id()
        request.protocol.request_id = request_id
        cors: dict[str, str] = {}
        incoming: Incoming | None = None
        try:
            if (origin := request.headers.get("Origin")) is not None or request.method == "OPTIONS":
                cors, preflight = self._cross_origin(request, origin)
                if preflight:
                    return Answer(200, headers=cors)
            arrived = await self._incoming(request, request_id)
            if isinstance(arrived, Answer):
                return arrived
            incoming = arrived
            if self._opened and self._opens(incoming.op, incoming.path):
                response = await self._core.handle_openly(incoming)
            elif (leadership := self._core.leadership) is not None:
                response = await leadership.answer(request, incoming, passed_on=self._between_nodes)
            else:
                response = await self._core.handle(incoming)
            if self._redacted and incoming.path in _TELLING:
                response.data = {key: "" if key in self._redacted else value for key, value in response.data.items()}
            answer = _render(response, request_id)
        except asyncio.CancelledError:
            if not (seconds := request.protocol.overdue):
                raise
            answer = _too_long(seconds)
        except CaveauError as error:
            if error.status >= 500 and error.status != 503:
                _log.error("request %s failed: %s", request_id, error)
            answer = _render_error(error, request_id)
            if incoming is None and self._core.ui_headers and request.raw_path.startswith("/ui/"):
                answer.headers.update(self._core.ui_headers)
        except ConnectionError:  # the client has gone; nobody will read this
            answer = errors(400, ["the connection was closed before the request was complete"])
        except Exception:
            _log.exception("request %s failed", request_id)
            answer = errors(500, [f"internal error: the server log has details under request id {request_id}"])
        if cors:
            answer.headers.update(cors)
        if incoming is not None and incoming.answer_headers is not None:
            answer.headers.update(incoming.answer_headers)
        if incoming is not None and incoming.namespace:
            given = request.headers.get("X-Vault-Namespace", "")
            if given and given.isprintable():
                answer.headers["X-Vault-Namespace"] = given
        if self._listener.custom_response_headers:
            answer.headers.update(self._listener.response_headers(answer.status))
        return answer

    def _cross_origin(self, request: HttpRequest, origin: str | None) -> tuple[dict[str, str], bool]:
        """Headers for a request from another origin, and whether it is a preflight; raises PermissionDenied."""
        cors = self._core.cors
        preflight = request.method == "OPTIONS"
        if not cors.enabled or not origin:
            if preflight:
                raise InvalidRequest("cannot handle internal-only request operation")
            return {}, False
        if not cors.allows(origin):
            raise PermissionDenied("origin not allowed")
        headers = cors.answer_headers(origin)
        if not preflight:
            return headers, False
        wanted = request.headers.get("Access-Control-Request-Method")
        if wanted is None:
            raise InvalidRequest("cannot handle internal-only request operation")
        if wanted not in METHODS:
            raise UnsupportedOperation("")
        return headers | cors.preflight_headers(), True

    async def _incoming(self, request: HttpRequest, request_id: str) -> Incoming | Answer:
        raw_path, _, query = request.raw_path.partition("?")
        if self._pages and raw_path.startswith("/ui/") and request.method in ("GET", "HEAD"):
            from .identity.oidc import page  # when somebody logs in to an application

            if page.is_page(raw_path):
                return Answer(200, page.PAGE, page.HEADERS)
        path = _path(raw_path)
        if path is None:
            return _redirect(request.method, raw_path, query)
        method, headers = request.method, request.headers
        op = _OPS.get(method)
        if op is None:
            raise UnsupportedOperation("")
        if op == "header" and path in _HEAD_LIKE_GET:
            op = "read"
        data: dict[str, Any] = {}
        if query:
            data = _query(query)
            if data.pop("help", ""):
                op = "help"
            elif op == "read":
                op = _read_flavour(data)
        if op in ("list", "scan") and not path.endswith("/"):
            path += "/"
        if path in self._closed:
            raise UnsupportedOperation
        if self._guarded:
            self._guard(path, headers)
        if not (self._opened and self._opens(op, path)):
            self._core.check_open(op, path)
        content = None
        if path in _STREAMED and op == "update":
            content = _arriving(request)
        elif method in _WITH_BODY:
            data = await self._body(request, method)
        elif request.has_body():
            await self._read(request)  # means nothing, and is not to be taken for the next request
        token = headers.get("X-Vault-Token")
        if not token and (authorization := headers.get("Authorization")) is not None:
            scheme, _, credentials = authorization.partition(" ")
            token = credentials if scheme == "Bearer" else ""
        _check_consistency(headers)
        wrap_ttl = headers.get("X-Vault-Wrap-TTL")
        return Incoming(
            request_id,
            op,
            path,
            token.strip() if token else "",
            data,
            headers,
            None if wrap_ttl is None else _wrap_seconds(wrap_ttl),
            client_address(request, self._listener),
            client_certificate(request, self._listener) or None,
            content=content,
            peer=request.protocol.peername,
            namespace="" if (namespace := headers.get("X-Vault-Namespace")) is None else _namespace(namespace),
        )

    def _opens(self, op: str, path: str) -> bool:
        """Whether this listener answers it without a token, and while the server is sealed."""
        return op == "read" and (
            path in self._opened or (path.startswith("sys/pprof/") and "sys/pprof/" in self._opened)
        )

    def _guard(self, path: str, headers: Mapping[str, str]) -> None:
        """Refuse what the listener is not for, or what a browser could be made to send (server-side forgery)."""
        if self._listener.role == "metrics_only" and path not in _OF_METRICS:
            raise NotFound("")
        if self._listener.require_request_header and headers.get("X-Vault-Request") != "true":
            raise PreconditionFailed('missing "X-Vault-Request" header')

    async def _body(self, request: HttpRequest, method: str) -> dict[str, Any]:
        media = request.headers.get("Content-Type", "")
        if media and media != _JSON:
            media = media.partition(";")[0].strip().lower()
        if method == "PATCH" and media != _MERGE_PATCH:
            if not media:
                raise InvalidRequest("mime: no media type")
            raise UnsupportedMediaType(f"PATCH requires Content-Type of {_MERGE_PATCH}, provided {media[:128]}")
        content = request.content
        size = content.total_bytes
        if content.is_eof() and size <= _SMALL and size <= self._max_body:  # all here, and nothing held up by it
            raw = b"".join(content._buffer) if size else b""
        else:
            raw = await self._read(request)
        request.body = raw
        if not raw or raw.isspace():
            return {}
        if media == _FORM and raw.lstrip()[:1] not in (b"{", b"["):
            return _form(raw)
        try:
            data = self._reader.loads(raw)
        except LimitExceeded as error:
            raise InvalidRequest(str(error)) from None
        except ValueError as error:
            raise InvalidRequest(f"failed to decode JSON input: {error}") from None
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise InvalidRequest("failed to decode JSON input: the body must be a JSON object")
        return data

    async def _read(self, request: HttpRequest) -> bytes:
        """The body; raises RequestTooLarge for one over ``max_request_size``."""
        content = request.content
        if content.at_eof():
            return b""
        if int(request.headers.get("Content-Length", 0)) > self._max_body:
            raise RequestTooLarge("http: request body too large")
        chunks, size = [], 0
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise RequestTooLarge("http: request body too large")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _arriving(request: HttpRequest) -> AsyncIterator[bytes]:
    """The body as it comes. As long as some does, the request is not too long under way."""
    async for chunk in request.content.iter_any():
        request.protocol.still_arriving()
        yield chunk


def _too_long(seconds: float) -> Answer:
    """For a request that the connection has cancelled."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    answer = errors(
        503,
        [
            f"the request took longer than max_request_duration, {seconds:g} seconds, and was stopped; "
            "what it had given to the store by then is kept"
        ],
    )
    answer.force_close()  # its body may not be all read
    return answer


def _random_pieces() -> Iterator[list[bytes]]:
    """16 random bytes each, 256 of one system call: good enough for what only has to be unlike all others."""
    while True:
        pool = os.urandom(16 * 256)
        yield [pool[at : at + 16] for at in range(0, len(pool), 16)]


_RANDOM = chain.from_iterable(_random_pieces())


def new_request_id() -> str:
    """A random UUID (RFC 9562, version 4)."""
    h = next(_RANDOM).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[ord(h[16]) & 3]}{h[17:20]}-{h[20:]}"


def _path(raw: str) -> str | None:
    """The decoded path below ``/v1/``; None when the client is to be sent to the clean form of it."""
    if not raw.startswith("/v1/") or "//" in raw or "/." in raw:
        if raw == "/" or posixpath.normpath(raw).lstrip("/") != raw.strip("/"):
            return None
        if not raw.startswith("/v1/"):
            raise NotFound("")
    path = raw[4:]
    if "%" in path:
        try:
            path = urllib.parse.unquote(path, errors="strict")
        except UnicodeDecodeError:
            raise InvalidRequest("the path is not valid UTF-8") from None
        if ".." in path and ".." in path.split("/"):
            raise InvalidRequest("relative paths not supported")
    if not path.isprintable():
        raise InvalidRequest("the path has characters that cannot be printed")
    return path


def _redirect(method: str, raw: str, query: str) -> Answer:
    clean = "/ui/" if raw == "/" else "/" + posixpath.normpath(raw).lstrip("/")
    if raw.endswith("/") and not clean.endswith("/"):
        clean += "/"
    location = f"{clean}?{query}" if query else clean
    if method != "GET":
        return Answer(307, headers={"Location": location})
    note = f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'
    headers = {"Location": location, "Content-Type": "text/html; charset=utf-8"}
    return Answer(307, note.encode("utf-8", "surrogateescape"), headers)


def _query(query: str) -> dict[str, Any]:
    try:
        values = urllib.parse.parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise InvalidRequest("the query is not valid: at most 1000 arguments, in UTF-8") from None
    return {key: value[0] if len(value) == 1 else value for key, value in values.items()}


def _form(raw: bytes) -> dict[str, Any]:
    """The fields of a form (URL standard, section 5.1), those given repeatedly joined with commas."""
    try:
        if b";" in raw or _BROKEN_ESCAPE.search(raw):  # which one server reads this way, another that way
            raise ValueError
        values = urllib.parse.parse_qs(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError:
        raise InvalidRequest("error parsing form data") from None
    return {key: ",".join(value) for key, value in values.items()}


def _read_flavour(data: dict[str, Any]) -> str:
    """What a GET asks for by its query: list, scan or read. The flags are taken out of ``data``."""
    flags = {flag: data.pop(flag) for flag in ("list", "scan") if flag in data}
    for flag, raw in flags.items():
        try:
            wanted = parse_bool(raw[0] if isinstance(raw, list) else raw)
        except ValueError:
            raise InvalidRequest("") from None
        if wanted:
            return flag
    return "read"


def _namespace(header: str) -> str:
    """The path of a namespace with a slash at its end; "" for the root one."""
    path = header.strip().strip("/")
    return "" if path in ("", "root") else f"{path}/"


def _wrap_seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"error parsing X-Vault-Wrap-TTL header: {error}") from None
    if seconds < 0:
        raise InvalidRequest("error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")
    return seconds


def _check_consistency(headers: Mapping[str, str]) -> None:
    """Refuse what cannot be an index of the store, or a wish for when a node is behind it."""
    if index := headers.get(INDEX):
        try:
            Index.parse(index)
        except ValueError:
            raise InvalidRequest('failed to decode "X-Vault-Index"') from None
    if headers.get(INCONSISTENT, "") not in POLICIES:
        raise InvalidRequest('unknown value for "X-Vault-Inconsistent" header')


def _render(response: Response, request_id: str) -> Answer:
    if response.stream is not None:
        return Stream(response.status or 200, response.stream, response.headers)
    if response.body is not None:
        headers = {"Content-Type": response.content_type, **response.headers}
        return Answer(response.status or 200, response.body, headers)
    if response.bare:
        if response.data is None:
            return Answer(response.status or 204, headers=response.headers)
        return Answer(response.status or 200, jsontext.dumps(response.data) + b"\n", response.headers)
    if is_empty(response):
        return Answer(204, headers=response.headers)
    answer = envelope(response, request_id)
    if response.flat and response.wrap_info is None:
        answer = response.data | answer
    return Answer(response.status or 200, jsontext.dumps(answer) + b"\n", response.headers)


def _render_error(error: CaveauError, request_id: str) -> Answer:
    if error.data is not None:
        return _render(Response(data=error.data, status=error.status), request_id)
    answer = errors(error.status, error.messages)
    if isinstance(error, RequestTooLarge):
        answer.force_close()
    return answer

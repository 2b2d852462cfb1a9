"""``http``: entries in batches to a collector: as lines of JSON, for Splunk's HEC, or for Elasticsearch."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import orjson

from ...framework.errors import InvalidRequest
from .options import Options

_FORMATS: Final = ("json", "splunk", "elasticsearch")
_LIMIT_SECONDS: Final = 3.5  # for one group with all attempts: below the limit of a channel
_FIRST_PAUSE: Final = 0.1
_ANSWER: Final = 1 << 20  # bytes of an answer that are read
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpDevice:
    """POSTs to ``uri``. What the collector cannot take now is sent again, after a pause that doubles."""

    def __init__(
        self,
        uri: urllib.parse.SplitResult,
        headers: Mapping[str, str],
        *,
        body: str = "json",
        batch_bytes: int = 1 << 20,
        seconds: float = 2.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._uri, self._headers, self._body = uri, headers, body
        self._batch_bytes, self._seconds, self._context = batch_bytes, seconds, context
        self._connection: http.client.HTTPConnection | None = None
        self._closing = threading.Event()

    @classmethod
    def from_options(cls, options: Options) -> Self:
        uri = urllib.parse.urlsplit(options.text("uri", None))
        headers = _headers(options.text("headers"))
        body = options.text("body", "json", choices=_FORMATS)
        batch = options.natural("batch_bytes", 1 << 20)
        seconds = options.seconds("timeout", 2.0, least=0.001, most=3.0)
        ca_file = options.text("tls_ca_file")
        options.finish()
        try:
            ok = uri.scheme in ("http", "https") and uri.hostname and uri.port != 0
        except ValueError:
            ok = None
        if not ok or uri.username is not None:
            raise InvalidRequest("uri is not http://HOST[:PORT]/PATH or https://...; credentials go into headers")
        context = None
        if uri.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=ca_file or None)
            except (OSError, ssl.SSLError):
                raise InvalidRequest("tls_ca_file holds no certificates that can be read") from None
        headers = {"Content-Type": "application/json" if body == "splunk" else "application/x-ndjson"} | headers
        return cls(uri, headers, body=body, batch_bytes=batch, seconds=seconds, context=context)

    def open(self) -> None:
        """Nothing: connections are made when there is something to send."""

    def write(self, entries: Sequence[bytes]) -> None:
        end = time.monotonic() + _LIMIT_SECONDS
        for batch in self._batches(entries):
            self._deliver(batch, end)

    def _batches(self, entries: Sequence[bytes]) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for entry in entries:
            part = self._shaped(entry)
            if parts and size + len(part) > self._batch_bytes:
                yield b"".join(parts)
                parts, size = [], 0
            parts.append(part)
            size += len(part)
        yield b"".join(parts)

    def _shaped(self, entry: bytes) -> bytes:
        if self._body == "splunk":  # the form of an event for the HTTP event collector
            return b'{"source":"caveau","sourcetype":"_json","event":' + entry.rstrip(b"\n") + b"}\n"
        if self._body == "elasticsearch":  # an action line before each document, as the bulk API wants it
            return b'{"create":{}}\n' + entry
        return entry

    def _deliver(self, batch: bytes, end: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            asked: float | None = None
            try:
                status, problem, asked = self._post(batch)
                if not problem:
                    return
                error = OSError(problem)
                final = status not in _AGAIN
            except (OSError, http.client.HTTPException) as failure:
                self.close_connection()
                error = OSError(getattr(failure, "strerror", None) or str(failure) or type(failure).__name__)
                final = False
            wait = max(pause, asked or 0.0)
            if final or time.monotonic() + wait >= end or self._closing.wait(wait):
                raise error
            pause *= 2

    def _post(self, batch: bytes) -> tuple[int, str, float | None]:
        """Status, what is wrong with it (empty: nothing) and the pause the collector asks for."""
        connection = self._connection or self._connect()
        target = urllib.parse.urlunsplit(("", "", self._uri.path or "/", self._uri.query, ""))
        connection.request("POST", target, batch, dict(self._headers))
        answer = connection.getresponse()
        text = answer.read(_ANSWER)
        if not answer.isclosed():
            self.close_connection()  # more than it should say
        if not 200 <= answer.status < 300:
            after = answer.getheader("Retry-After", "")
            return answer.status, f"the collector answers {answer.status}", float(after) if after.isdigit() else None
        if self._body == "elasticsearch" and _has_errors(text):
            return answer.status, "the collector did not take every document", None
        return answer.status, "", None

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._uri.hostname or "", self._uri.port
        if self._context is not None:
            self._connection = http.client.HTTPSConnection(host, port, timeout=self._seconds, context=self._context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=self._seconds)
        return self._connection

    def close_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def reopen(self) -> None:
        self.close_connection()

    def close(self) -> None:
        self._closing.set()
        self.close_connection()


def _headers(text: str) -> dict[str, str]:
    """A JSON object of names with a value, or a list of values, each."""
    if not text:
        return {}
    try:
        given: Any = orjson.loads(text)
        pairs = {name: [value] if isinstance(value, str) else list(value) for name, value in given.items()}
        found = {name: ", ".join(values) for name, values in pairs.items() if values}
        for name, value in found.items():
            if not name.isascii() or not value.isascii() or not (name + value).isprintable() or ":" in name:
                raise ValueError
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest('headers is not a JSON object such as {"Authorization": "Splunk TOKEN"}') from None
    return found


def _has_errors(text: bytes) -> bool:
    try:
        answer: Any = orjson.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("errors") is True

"""An HTTP/1.1 answer in one write.

``aiohttp.web.Response`` can stream, compress, set cookies and be changed until it is sent, and takes a third
of the time of a small answer for it. Ours are whole and final: status line, headers and body go to the
transport as one piece of bytes. It offers what aiohttp's connection asks of a response.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import HttpVersion10

if TYPE_CHECKING:
    from .http_request import HttpRequest

HSTS = "max-age=31536000; includeSubDomains"

_COMMON = (
    "Cache-Control: no-store\r\n"
    f"Strict-Transport-Security: {HSTS}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Server: Caveau\r\n"
)
"""On every answer; ``headers`` of the same name replace them."""
_JSON = "Content-Type: application/json\r\n"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_HEADS = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n{_JSON}{_COMMON}"
    for status in range(200, 600)  # sys/health answers with whichever is asked for
}
_NAMES = frozenset(line.partition(":")[0].lower() for line in (_JSON + _COMMON).splitlines())
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 section 5.5
_SMALL = 16 << 10  # bytes; larger ones go out at once, and wait where the client is slow
_PATIENCE = 10.0  # seconds that a stream waits for its client
_BODILESS = frozenset({204, 304})


class Answer:
    """``body`` as JSON with ``status``; ``headers`` are those beside the ones that every answer has."""

    __slots__ = ("_request", "body", "headers", "keep_alive", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers: dict[str, str] = dict(headers) if headers else {}
        self.keep_alive: bool | None = None
        self._request: HttpRequest

    def force_close(self) -> None:
        """Close the connection after this answer."""
        self.keep_alive = False

    async def prepare(self, request: HttpRequest) -> None:
        """Called by the connection before ``write_eof``."""
        self._request = request
        if self.keep_alive is None:
            self.keep_alive = request.keep_alive

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it; raises ConnectionError when the client has gone."""
        request, status = self._request, self.status
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has closed the connection")
        length = "" if status in _BODILESS else f"Content-Length: {len(self.body)}\r\n"
        text = self._head(length)
        if request.method != "HEAD" and status not in _BODILESS:
            text += self.body
        outbox = request.protocol.outbox
        if self.keep_alive and len(text) <= _SMALL:
            outbox.post(transport, text)
            return
        outbox.flush()  # a pipelined answer before this one goes first
        transport.write(text)
        if request.protocol._paused:  # the client takes its answers slowly
            await request.protocol._drain_helper()

    def _head(self, framing: str) -> bytes:
        """Status line and headers; ``framing``: the header lines that say where the body ends."""
        request, head = self._request, _HEADS[self.status]
        if self.headers:
            head = _with(head, self.headers)
        head += framing
        if not self.keep_alive:
            head += "Connection: close\r\n"
        elif request.version == HttpVersion10:
            head += "Connection: keep-alive\r\n"
        head += f"Date: {rfc822_formatted_time()}\r\n\r\n"
        request.begun = True
        return head.encode("utf-8", "surrogateescape")


class Stream(Answer):
    """An answer whose body comes bit by bit, in chunks (RFC 9112 section 7.1). The connection closes after it.

    ``pieces`` gives an empty one now and then while it has nothing to say: a client that has gone is noticed then.
    """

    __slots__ = ("_pieces",)

    def __init__(self, status: int, pieces: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, headers=headers)
        self._pieces = pieces
        self.keep_alive = False

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._request
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has closed the connection")
        chunked = request.version != HttpVersion10
        request.protocol.outbox.flush()
        transport.write(self._head("Transfer-Encoding: chunked\r\n" if chunked else ""))
        async with contextlib.aclosing(self._pieces) as pieces:  # type: ignore[type-var]  # generators, all of them
            async for piece in pieces:
                if transport.is_closing():
                    raise ConnectionResetError("the client has closed the connection")
                if piece:
                    transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    if request.protocol._paused:
                        await self._drained(transport)
        if chunked:
            transport.write(b"0\r\n\r\n")

    async def _drained(self, transport: asyncio.Transport) -> None:
        """Wait until the client has taken what was written; raises ConnectionError when that takes too long."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._request.protocol._drain_helper()
        except TimeoutError:
            transport.abort()
            raise ConnectionResetError("the client does not take its answer") from None


class Outbox:
    """Small answers of one turn of the event loop, sent together at its end.

    Sending one wakes its client, which costs far more when the client's processor sleeps than when it is
    still busy with the answer before: a third of all time under load.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def post(self, transport: asyncio.Transport, text: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append((transport, text))

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, []
        for transport, text in waiting:
            if not transport.is_closing():
                transport.write(text)


def errors(status: int, messages: list[str]) -> Answer:
    """``{"errors": [...]}``, as Vault answers what it refuses."""
    return Answer(status, orjson.dumps({"errors": messages}) + b"\n")


def _with(head: str, headers: Mapping[str, str]) -> str:
    """``head`` with more header lines; raises ValueError for one that would end its line early."""
    replaced = {name.lower() for name in headers} & _NAMES
    if replaced:
        status, *lines = head.splitlines(keepends=True)
        head = status + "".join(line for line in lines if line.partition(":")[0].lower() not in replaced)
    for name, value in headers.items():
        if _UNSAFE.search(name) or _UNSAFE.search(value) or ":" in name:
            raise ValueError("a response header has a control character in it")
        head += f"{name}: {value}\r\n"
    return head

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

    def post(self, request: HttpRequest) -> bool:
        """Send it with what else goes out in this turn of the loop; False when it is too big for that, or the last.

        Raises ConnectionError when the client has gone.
        """
        text, transport = self._whole(request), self._transport(request)
        if not self.keep_alive or len(text) > _SMALL:
            return False
        request.protocol.outbox.post(transport, text)
        return True

    async def send(self, request: HttpRequest) -> None:
        """Send it, and wait for a client that takes its answers slowly; raises ConnectionError when it has gone."""
        text, transport = self._whole(request), self._transport(request)
        request.protocol.outbox.flush()  # a pipelined answer before this one goes first
        transport.write(text)
        if request.protocol._paused:
            await request.protocol._drain_helper()

    def _whole(self, request: HttpRequest) -> bytes:
        if self.status in _BODILESS:
            return self._head(request, "")
        head = self._head(request, f"Content-Length: {len(self.body)}\r\n")
        return head if request.method == "HEAD" else head + self.body

    def _head(self, request: HttpRequest, framing: str) -> bytes:
        """Status line and headers; ``framing``: the header lines that say where the body ends."""
        if self.keep_alive is None:
            self.keep_alive = request.keep_alive
        head = _HEADS[self.status]
        if self.headers:
            head = _with(head, self.headers)
        if not self.keep_alive:
            framing += "Connection: close\r\n"
        elif request.version == HttpVersion10:
            framing += "Connection: keep-alive\r\n"
        request.begun = True
        return f"{head}{framing}Date: {rfc822_formatted_time()}\r\n\r\n".encode("utf-8", "surrogateescape")

    @staticmethod
    def _transport(request: HttpRequest) -> asyncio.Transport:
        transport = request.protocol.transport
        if transport is None:
            raise ConnectionResetError("the client has closed the connection")
        return transport

    # What aiohttp asks of the answer to a client that wants another protocol.

    async def prepare(self, request: HttpRequest) -> None:
        self._request = request

    async def write_eof(self) -> None:
        await self.send(self._request)


class Stream(Answer):
    """An answer whose body comes bit by bit, in chunks (RFC 9112 section 7.1). The connection closes after it.

    ``pieces`` gives an empty one now and then while it has nothing to say: a client that has gone is noticed then.
    """

    __slots__ = ("_pieces",)

    def __init__(self, status: int, pieces: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, headers=headers)
        self._pieces = pieces
        self.keep_alive = False

    def post(self, request: HttpRequest) -> bool:
        return False

    async def send(self, request: HttpRequest) -> None:
        transport = self._transport(request)
        chunked = request.version != HttpVersion10
        request.protocol.outbox.flush()
        transport.write(self._head(request, "Transfer-Encoding: chunked\r\n" if chunked else ""))
        async with contextlib.aclosing(self._pieces) as pieces:  # type: ignore[type-var]  # generators, all of them
            async for piece in pieces:
                if transport.is_closing():
                    raise ConnectionResetError("the client has closed the connection")
                if piece:
                    transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    if request.protocol._paused:
                        await self._drained(request, transport)
        if chunked:
            transport.write(b"0\r\n\r\n")

    async def _drained(self, request: HttpRequest, transport: asyncio.Transport) -> None:
        """Wait until the client has taken what was written; raises ConnectionError when that takes too long."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await request.protocol._drain_helper()
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

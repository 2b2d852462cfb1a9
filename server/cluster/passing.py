"""Passing a request on to the active node, over a connection that only members of the cluster can make.

It goes as the HTTP request that it is, and its answer comes back as it is. Three headers travel along, which the
active node believes because of who sends them: the client's address, its certificate, and the id of the request, so
that both nodes' audit logs know it by the same one.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy

from ...framework import Response
from ...framework.errors import StoreError, Unavailable
from ..answer import Answer, errors
from ..config import ListenerConfig
from ..connection import Server
from ..verbs import VERBS
from .places import READS

if TYPE_CHECKING:
    from ...storage.raft.engine import Server as Member
    from ..edge import Edge
    from ..http_request import HttpRequest
    from ..request import Incoming
    from .hello import Description

P = TypeVar("P", bound=asyncio.BaseProtocol)

_CLIENT, _CERTIFICATE, _ID = "X-Caveau-Client", "X-Caveau-Client-Certificate", "X-Caveau-Request-Id"
_OWN: Final = frozenset({_CLIENT.lower(), _CERTIFICATE.lower(), _ID.lower()})
_OF_ONE_HOP: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are about the connection (RFC 9110, section 7.6.1)."""
_CONNECT_SECONDS = 3.0
_HEAD_SECONDS = 90.0  # until an answer begins
_LONG_SECONDS = 3600.0  # the same, for a body that is long and takes long to be taken in
_IDLE_SECONDS = 30.0  # after which a connection is not used again; the other side keeps it longer
_KEPT = 64
_LONGEST_HEAD = 1 << 20
_CONNECTIONS = 4096  # that a node takes from the others
_DRAIN_SECONDS = 10.0
LIMITS: Final = ListenerConfig(
    http_read_header_timeout=0.0,
    http_read_timeout=0.0,
    http_idle_timeout=4 * _IDLE_SECONDS,
    max_request_size=-1,
    max_request_json_memory=-1,
    max_request_json_strings=-1,
    max_json_depth=-1,
    max_json_string_value_length=-1,
    max_json_object_entry_count=-1,
    max_json_array_element_count=-1,
)
"""Of what others pass on: their own listeners have seen to it that a request is none too big."""


class Link(Protocol):
    """The cluster, as far as requests are passed on in it."""

    def forwarding(self, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        """Have ``protocol`` make the protocol of every connection on which a member passes requests on."""

    def member(self, transport: asyncio.BaseTransport) -> Member | None:
        """The member at the other end of such a connection; None: it is one no more."""

    async def connect_to_leader(self, protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A connection to the leader, as ``loop.create_connection`` gives it; raises OSError and StoreError."""

    async def ask(self, server: Member, *, again: bool = True) -> Description | None:
        """What a member says of itself; None if it does not answer."""


@dataclass(slots=True, eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float  # idle, by the loop's clock
    used: bool = False


class Passing:
    """The way to the active node, and what was passed on over it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._server: Server | None = None
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    def reset(self) -> None:
        """Another node is active: nobody answers on these connections any more."""
        for connection in (*self._idle, *self._busy):
            connection.writer.transport.abort()
        self._idle.clear()

    async def send(self, request: HttpRequest, incoming: Incoming) -> Response:
        """The active node's answer, an error too; raises Unavailable."""
        text = _text(request, incoming)
        reads = incoming.op in READS
        while True:
            connection = await (self._connection() if incoming.content is None else self._connect())
            fresh = not connection.used
            try:
                return await self._exchange(connection, text, incoming.content, body=request.method != "HEAD")
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                if reads and not fresh:
                    continue
                what = "nothing was read" if reads else "whether this was stored is not known: read it"
                raise Unavailable(f"the active node did not answer, and {what}; try again") from error

    async def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if loop.time() - connection.since < _IDLE_SECONDS and not connection.reader.at_eof():
                return connection
            connection.writer.transport.abort()
        return await self._connect()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LONGEST_HEAD)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                transport, protocol = await self._link.connect_to_leader(lambda: asyncio.StreamReaderProtocol(reader))
        except (OSError, TimeoutError, StoreError) as error:
            raise Unavailable("the cluster has no active node at the moment; try again") from error
        return _Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop), loop.time())

    async def _exchange(
        self, connection: _Connection, text: bytes, sent: AsyncIterator[bytes] | None = None, *, body: bool
    ) -> Response:
        """``sent``: a body that may be long, and that an answer may come before. Raises OSError, EOFError,
        TimeoutError and ValueError."""
        reader, writer = connection.reader, connection.writer
        self._busy.add(connection)
        kept = False
        sending: asyncio.Task[None] | None = None
        try:
            writer.write(text)
            await writer.drain()
            if sent is not None:
                sending = asyncio.create_task(_send_pieces(writer, sent))
            async with asyncio.timeout(_HEAD_SECONDS if sending is None else _LONG_SECONDS):
                raw = await reader.readuntil(b"\r\n\r\n")
            status, headers = _head(raw)
            if headers.get("transfer-encoding") == "chunked":
                kept = True  # by the stream
                return Response(status=status, stream=self._pieces(connection), headers=_passed(headers))
            length = int(headers.get("content-length", 0)) if body else 0
            content = await reader.readexactly(length) if length else b""
            if headers.get("connection") != "close" and sending is None:
                kept = True
                self._keep(connection)
            return Response(status=status, body=content, headers=_passed(headers))
        except asyncio.LimitOverrunError as error:
            raise ValueError("the head of an answer is too long") from error
        finally:
            if sending is not None:
                sending.cancel()
            if not kept:
                self._drop(connection)

    def _keep(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        connection.used, connection.since = True, asyncio.get_running_loop().time()
        if len(self._idle) < _KEPT and not connection.writer.transport.is_closing():
            self._idle.append(connection)
        else:
            connection.writer.transport.abort()

    def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        connection.writer.transport.abort()

    async def _pieces(self, connection: _Connection) -> AsyncIterator[bytes]:
        """What comes in chunks (RFC 9112, section 7.1), as it comes. A stream that breaks off shows: the client's
        has no end either."""
        reader = connection.reader
        try:
            while True:
                reading = asyncio.ensure_future(reader.readline())
                try:
                    while not (await asyncio.wait({reading}, timeout=1.0))[0]:
                        yield b""  # nothing to say: whether the client is still there is to be looked at
                finally:
                    reading.cancel()
                size = int(reading.result().strip() or b"x", 16)
                if not size:
                    return
                yield (await reader.readexactly(size + 2))[:-2]
        except (OSError, EOFError, ValueError) as error:
            raise ConnectionResetError("the active node broke off its answer") from error
        finally:
            self._drop(connection)

    # On the active node

    def serve(self, edge: Edge) -> None:
        """Take requests that others pass on; they reach ``edge``."""

        async def handle(request: HttpRequest) -> Answer:
            transport = request.transport
            if transport is None or self._link.member(transport) is None:
                answer = errors(403, ["only members of the cluster pass requests on"])
                answer.force_close()
                return answer
            return await _arrived(request, edge.handle)

        self._server = Server(handle, LIMITS, _CONNECTIONS)
        self._server.start()
        self._link.forwarding(self._server)

    async def close(self) -> None:
        """Take no more, and let those under way come to their end."""
        self.reset()
        if self._server is not None:
            await self._server.drain(_DRAIN_SECONDS)


def _text(request: HttpRequest, incoming: Incoming) -> bytes:
    """The request, to be sent on."""
    body = request.body
    lines = [f"{VERBS.get(request.method, request.method)} {request.raw_path} HTTP/1.1"]
    lines += [
        f"{name}: {value}"
        for name, value in request.headers.items()
        if (known := name.lower()) not in _OF_ONE_HOP and known not in _OWN
    ]
    peer = request.protocol.peername
    port = peer[1] if isinstance(peer, tuple) else 0
    lines.append(f"{_CLIENT}: {incoming.remote_address} {port}")
    if incoming.peer_certificate:
        lines.append(f"{_CERTIFICATE}: {base64.b64encode(incoming.peer_certificate).decode()}")
    lines.append(f"{_ID}: {incoming.id}")
    if incoming.content is not None:
        lines.append("Transfer-Encoding: chunked")
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def _send_pieces(writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
    """In chunks (RFC 9112, section 7.1). When they break off, so does the connection."""
    try:
        async for piece in pieces:
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
    except Exception:
        writer.transport.abort()


def _head(raw: bytes) -> tuple[int, CIMultiDict[str]]:
    """Status and headers of an answer; raises ValueError."""
    first, *lines = raw.decode("utf-8", "surrogateescape").split("\r\n")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers.add(name, value.strip())
    return int(first.partition(" ")[2][:3]), headers


def _passed(headers: CIMultiDict[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_HOP and name != "Date"}


async def _arrived(request: HttpRequest, handle: Callable[[HttpRequest, str], Awaitable[Answer]]) -> Answer:
    """Answer a request as its client sent it to the other node."""
    headers = request.headers
    address, _, port = headers.get(_CLIENT, "").partition(" ")
    request.protocol.stand_for(address, int(port or 0), base64.b64decode(headers.get(_CERTIFICATE, "")))
    request_id = headers.get(_ID, "")
    request.headers = CIMultiDictProxy(
        CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OWN)
    )
    return await handle(request, request_id)

"""The transport between real nodes: TLS both ways, frames of a length and a message.

Who a peer is says its certificate, never what it sends; that the certificate is of this cluster is for the contexts
to verify. A node dials the members that it has no connection with, and answers on the connections that others made,
so one that knows nobody yet can be reached.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .engine import Server
from .messages import LONGEST, Malformed, Message, decode, encode
from .transport import Receiver

_log = logging.getLogger(__name__)

ALPN = "caveau-raft/1"
"""The protocol that both sides name in the handshake: other things may be spoken on the same port."""

_DIAL = 5.0  # seconds until a connection is there, its handshake included
_AGAIN = (0.1, 2.0)  # seconds between attempts: at first, at most
_UNANSWERED = 10_000  # milliseconds that sent data may go unacknowledged
_WAITING = 8 << 20  # bytes that may wait to be sent to a node before others have their turn
_LENGTH = 4

PeerCertificate = Mapping[str, Any]
"""As ``ssl.SSLSocket.getpeercert`` gives it."""


def name_of(certificate: PeerCertificate) -> str:
    """The node whose certificate this is: its only DNS name (RFC 5280 section 4.2.1.6); raises ValueError."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if len(names) != 1:
        raise ValueError("a node's certificate has one DNS name, which is its id")
    return str(names[0])


class Link(asyncio.Protocol):
    """One connection, whoever made it."""

    def __init__(self, owner: TlsTransport, expected: str | None) -> None:
        self._owner = owner
        self._expected = expected
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.node = ""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        tls = made.get_extra_info("ssl_object")
        try:
            node = self._owner.identify(made.get_extra_info("peercert") or {})
            if self._expected not in (None, node):
                raise ValueError(f"node {node} answers at the address of {self._expected}")
            if tls is None or tls.selected_alpn_protocol() != ALPN:
                raise ValueError("it does not speak this protocol")
        except ValueError as error:
            _log.warning("a connection of the cluster is refused: %s", error)
            made.abort()
            return
        connection = made.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED)
        self._transport, self.node = made, node
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _LENGTH:
                length = int.from_bytes(buffer[at : at + _LENGTH], "big")
                if length > LONGEST:
                    raise Malformed(f"{length} bytes long")
                end = at + _LENGTH + length
                if len(buffer) < end:
                    break
                self._owner.receiver.received(self.node, decode(bytes(memoryview(buffer)[at + _LENGTH : end])))
                at = end
        except Malformed as error:
            _log.error("node %s sent a message that is none: %s", self.node, error)
            self.close()
            return
        del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        if self.node:
            self._owner.ended(self)
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.writelines((len(data).to_bytes(_LENGTH, "big"), data))

    @property
    def waiting(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()


class TlsTransport:
    """A ``Transport``."""

    receiver: Receiver

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ssl.SSLContext,
        listen: tuple[str, int] | None = None,
        identify: Callable[[PeerCertificate], str] = name_of,
    ) -> None:
        """The contexts have this node's certificate, demand one of the peer, and verify that it is of the cluster;
        what is loaded into them later counts for later connections. ``listen``: host and port; without, others
        are taken by ``protocol``. ``identify``: a node's id from its certificate; raises ValueError."""
        for context in (client, server):
            if context.verify_mode is not ssl.CERT_REQUIRED:
                raise ValueError("nodes must prove who they are to each other")
            context.set_alpn_protocols([ALPN])
        self.identify = identify
        self._client, self._server = client, server
        self._listen = listen
        self._listener: asyncio.Server | None = None
        self._links: dict[str, list[Link]] = {}
        self._dialing: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._others: Sequence[Server] = ()
        self._started = False

    async def start(self, receiver: Receiver) -> None:
        """Raises OSError if the port cannot be had."""
        self.receiver = receiver
        loop = asyncio.get_running_loop()
        if self._listen is not None:
            host, port = self._listen
            self._listener = await loop.create_server(
                self.protocol, host, port, ssl=self._server, ssl_handshake_timeout=_DIAL
            )
        self._started = True
        self.reach(self._others)

    def protocol(self) -> Link:
        """For a connection that was accepted with this transport's server context."""
        return Link(self, None)

    def reach(self, others: Sequence[Server]) -> None:
        self._others = others
        if not self._started:
            return
        wanted = {server.id: server.address for server in others}
        for node, (address, task) in list(self._dialing.items()):
            if wanted.get(node) != address:
                task.cancel()
                del self._dialing[node]
                for link in self._links.get(node, ()):
                    link.close()
        for node, address in wanted.items():
            if node not in self._dialing:
                self._dialing[node] = address, asyncio.create_task(self._dial(node, address))

    def send(self, node: str, message: Message) -> None:
        links = self._links.get(node)
        if links:
            links[-1].send(encode(message))

    def room(self, node: str) -> bool:
        links = self._links.get(node)
        return links is not None and links[-1].waiting < _WAITING

    async def close(self) -> None:
        self._started = False
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = [task for _, task in self._dialing.values()]
        self._dialing.clear()
        for task in tasks:
            task.cancel()
        links = [link for links in self._links.values() for link in links]
        for link in links:
            link.close()
        await asyncio.gather(*tasks, *(link.lost for link in links), return_exceptions=True)

    # What the links say

    def made(self, link: Link) -> None:
        links = self._links.setdefault(link.node, [])
        links.append(link)
        if len(links) == 1:
            self.receiver.connected(link.node, True)

    def ended(self, link: Link) -> None:
        links = self._links[link.node]
        links.remove(link)
        if not links:
            del self._links[link.node]
            self.receiver.connected(link.node, False)

    async def _dial(self, node: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        loop = asyncio.get_running_loop()
        pause, most = _AGAIN
        while True:
            links = self._links.get(node)
            if links:
                await asyncio.wait([links[-1].lost])
                pause = _AGAIN[0]
                continue
            try:
                async with asyncio.timeout(_DIAL):
                    await loop.create_connection(
                        lambda: Link(self, node), host, int(port), ssl=self._client, server_hostname=host
                    )
            except (OSError, ValueError, TimeoutError) as error:  # an ssl.SSLError is an OSError
                _log.debug("node %s at %s cannot be reached: %s", node, address, error)
            if node not in self._links:
                await asyncio.sleep(pause)
                pause = min(2 * pause, most)

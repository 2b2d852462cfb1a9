"""The port that nodes reach each other on: TLS both ways, and a protocol by its ALPN name (RFC 7301)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

FORWARD = "caveau-forward/1"
"""Nodes pass requests on to the leader."""
HELLO = "caveau-hello/1"
"""Nodes say who they are. Beside these the log's own protocol is spoken: ``storage/raft/tls.py``."""
_HANDSHAKE = 5.0  # seconds
_BACKLOG = 128

Factory = Callable[[], asyncio.BaseProtocol]


class Port:
    """``protocols``: by ALPN name, what makes the protocol of a connection. Its peer's certificate is verified by
    then, and is the transport's ``peercert``."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.protocols: dict[str, Factory] = {}
        self._context = context
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []

    def bind(self, host: str, port: int) -> int:
        """Take an address ("": every one), and the port that was taken. Raises OSError."""
        if host in ("", "::") and socket.has_dualstack_ipv6():
            taken = socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            taken = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._sockets.append(taken)
        number: int = taken.getsockname()[1]
        return number

    @property
    def bound(self) -> bool:
        return bool(self._sockets)

    async def serve(self) -> None:
        """Accept connections from now on; ``protocols`` has all that there will be."""
        self._context.set_alpn_protocols(list(self.protocols))
        loop = asyncio.get_running_loop()
        for taken in self._sockets:
            server = await loop.create_server(
                lambda: _Newcomer(self.protocols),
                sock=taken.dup(),  # so that the address stays ours between two times of serving
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE,
                backlog=_BACKLOG,
            )
            self._servers.append(server)

    def pause(self) -> None:
        """Accept none until ``serve`` is called again."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    def close(self) -> None:
        self.pause()
        sockets, self._sockets = self._sockets, []
        for taken in sockets:
            taken.close()


class _Newcomer(asyncio.Protocol):
    """A connection until it is known what it speaks."""

    def __init__(self, protocols: dict[str, Factory]) -> None:
        self._protocols = protocols

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        factory = self._protocols.get(made.get_extra_info("ssl_object").selected_alpn_protocol())
        if factory is None:
            made.abort()
            return
        protocol = factory()
        made.set_protocol(protocol)
        protocol.connection_made(made)

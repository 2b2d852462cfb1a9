"""``socket``: entries as lines on a TCP or Unix connection, or a datagram each over UDP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Self

from ...framework.errors import InvalidRequest
from .options import Options


class SocketDevice:
    """Connects when there is something to write, and once more when the connection turns out to be gone.

    ``seconds``: how long connecting and writing may take, each.
    """

    def __init__(self, kind: str, address: str, seconds: float) -> None:
        self._kind, self._address, self._seconds = kind, address, seconds
        self._socket: socket.socket | None = None

    @classmethod
    def from_options(cls, options: Options) -> Self:
        address = options.text("address", None)
        kind = options.text("socket_type", "tcp", choices=("tcp", "udp", "unix"))
        seconds = options.seconds("write_timeout", 2.0, least=0.001, most=3.0)
        options.finish()
        if kind != "unix":
            host_and_port(address)
        return cls(kind, address, seconds)

    def open(self) -> None:
        self.close()
        if self._kind == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(self._seconds)
                made.connect(self._address)
            except OSError:
                made.close()
                raise
        else:
            made = _connected(*host_and_port(self._address), self._kind == "udp", self._seconds)
        self._socket = made

    def write(self, entries: Sequence[bytes]) -> None:
        if self._socket is None or self._is_gone(self._socket):
            self.open()
        try:
            self._send(entries)
        except TimeoutError:
            self.close()  # part of a line may be on its way
            raise
        except OSError:
            self.open()
            self._send(entries)

    def _send(self, entries: Sequence[bytes]) -> None:
        assert self._socket is not None
        try:
            if self._kind == "udp":
                for entry in entries:
                    self._socket.send(entry)
            else:
                self._socket.sendall(b"".join(entries))
        except OSError:
            self.close()
            raise

    def _is_gone(self, peer: socket.socket) -> bool:
        """Whether the other side has closed: what is written then is lost without an error."""
        if self._kind == "udp":
            return False
        peer.setblocking(False)
        try:
            return peer.recv(1 << 16) == b""
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        finally:
            peer.settimeout(self._seconds)

    def reopen(self) -> None:
        self.open()

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def _connected(host: str, port: int, udp: bool, seconds: float) -> socket.socket:
    if not udp:
        made = socket.create_connection((host, port), seconds)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return made
    error: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(seconds)
            made.connect(address)
            return made
        except OSError as problem:
            made.close()
            error = problem
    raise error or OSError(f"{host} has no address")


def host_and_port(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; raises InvalidRequest."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidRequest(f"address {address[:128]!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)

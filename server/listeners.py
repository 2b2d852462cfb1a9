"""Sockets that serve HTTP to a handler: TCP with or without TLS, and unix sockets.

``bind`` takes the address, so that a wrong one is known before anything else starts; ``serve``
begins to answer. TLS connections are accepted here and not by the loop, for two reasons: each takes
the context of its moment, which is how new certificates come into use without closing anything; and
a client that speaks plain HTTP to a TLS port is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import pwd
import resource
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from .config import ConfigError, ListenerConfig, join_address, split_address
from .connection import Connection, Handler, Server
from .request import UnderWay
from .tls import server_context

_log = logging.getLogger(__name__)

BACKLOG = 1024
_RESERVED_FILES = 64  # of the process's limit: stores, logs, audit files
_TLS_HANDSHAKE = 0x16  # the first byte of a TLS record that begins a handshake
_NOT_TLS = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class Listener:
    """One ``listener`` block at work."""

    def __init__(self, config: ListenerConfig) -> None:
        self.config = config
        self.address = config.address  # once bound, with the port the system chose for port 0
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._server: Server | None = None
        self._accepting: asyncio.AbstractServer | asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._unix_inode = 0

    @property
    def url(self) -> str:
        """The address as clients write it."""
        return f"{self.config.scheme}://{self.address}"

    def bind(self) -> None:
        """Read the certificates and take the address, before the loop runs. Raises ConfigError."""
        if self.config.type == "unix":
            self._socket = _unix_socket(self.config)
            self._unix_inode = Path(self.address).stat().st_ino
        else:
            if not self.config.tls_disable:
                self._tls = server_context(self.config)
            self._socket = _tcp_socket(self.config)
            host, port, *_ = self._socket.getsockname()
            self.address = join_address(host, port)
        self._socket.setblocking(False)

    async def serve(self, handler: Handler) -> None:
        """Answer requests with ``handler``, which is to raise nothing."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        server = self._server = Server(handler, self.config, self.config.max_connections or _file_limit())
        server.start()
        if self._tls is not None:
            self._accepting = loop.create_task(self._accept(self._socket, server), name=f"accept {self.url}")
        elif self.config.type == "unix":
            self._accepting = await loop.create_unix_server(server, sock=self._socket, backlog=BACKLOG)
        else:
            self._accepting = await loop.create_server(server, sock=self._socket, backlog=BACKLOG)

    def use(self, handler: Handler) -> None:
        """Answer the requests from now on with ``handler``, those of open connections too."""
        assert self._server is not None
        self._server.use(handler)

    def under_way(self, now: float) -> Iterator[UnderWay]:
        """The requests that are being answered; ``now``: seconds since the epoch."""
        for connection in () if self._server is None else self._server.connections:
            if isinstance(connection, Connection) and (request := connection.under_way(now)):
                yield request

    async def reload(self) -> None:
        """Read the certificate files again, for new connections. Raises ConfigError and keeps the old ones."""
        if self._tls is not None:
            self._tls = await asyncio.to_thread(server_context, self.config)

    async def stop(self, seconds: float = 10.0) -> None:
        """Accept no more, let requests in progress finish within ``seconds``, and close everything."""
        if isinstance(self._accepting, asyncio.Task):
            await _cancelled(self._accepting)
        elif self._accepting is not None:
            self._accepting.close()
        for handshake in list(self._handshakes):
            await _cancelled(handshake)
        if self._server is not None:
            await self._server.drain(seconds)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Give the address back. Only for a listener that does not serve; ``stop`` does it for one that does."""
        if self._socket is not None:
            self._socket.close()
        if self._unix_inode:
            with contextlib.suppress(OSError):  # another server's socket may be there by now
                if Path(self.address).stat().st_ino == self._unix_inode:
                    Path(self.address).unlink()
            self._unix_inode = 0

    async def _accept(self, listening: socket.socket, server: Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.error("cannot accept connections on %s: %s", self.url, error.strerror)
                    await asyncio.sleep(0.5)  # connections that end give their files back
                continue
            if len(self._handshakes) + len(server.connections) >= server.limit:
                _log.warning("connection refused: the listener has its %d connections", server.limit)
                connection.close()
                continue
            task = loop.create_task(self._handshake(connection, peer[0], server))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: socket.socket, peer: str, server: Server) -> None:
        loop = asyncio.get_running_loop()
        seconds = self.config.http_read_header_timeout or self.config.http_read_timeout or None
        taken = False
        try:
            connection.setblocking(False)
            async with asyncio.timeout(seconds):
                first = await _first_byte(connection)
                if first == _TLS_HANDSHAKE:
                    taken = True  # from here the transport closes it
                    await loop.connect_accepted_socket(server, connection, ssl=self._tls, ssl_handshake_timeout=seconds)
                elif chr(first).isupper():
                    await _tell_plain_client(connection)
        except (OSError, TimeoutError, EOFError) as error:  # ssl.SSLError is an OSError
            _log.info("TLS handshake with %s failed: %s", peer, error or "it took too long")
        finally:
            if not taken:
                connection.close()


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


async def _first_byte(connection: socket.socket) -> int:
    """The first byte that the client sends, left where it is. Raises EOFError."""
    while True:
        await _readable(connection)
        with contextlib.suppress(BlockingIOError):
            if not (data := connection.recv(1, socket.MSG_PEEK)):
                raise EOFError("closed by the client")
            return data[0]


async def _tell_plain_client(connection: socket.socket) -> None:
    connection.recv(64 << 10)  # closing with unread data would reset the connection, and the answer with it
    await asyncio.get_running_loop().sock_sendall(connection, _NOT_TLS)
    connection.shutdown(socket.SHUT_WR)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _file_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - _RESERVED_FILES, 16) if soft != resource.RLIM_INFINITY else 1 << 20


def _tcp_socket(config: ListenerConfig) -> socket.socket:
    host, port = split_address(config.address)
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        family, address = _resolved(host or "0.0.0.0", port)  # noqa: S104 - as configured
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there; stop it or choose another address"
        raise ConfigError(f"{config.origin or 'listener'}: cannot listen on {config.address}: {reason}") from None


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The address of a host, IPv4 first, as Go chooses."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, (str(address[0]), port)


def _unix_socket(config: ListenerConfig) -> socket.socket:
    """Only the configured users ever see the socket: it is made closed and opened up afterwards."""
    path = Path(config.address)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        mask = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(mask)
        _give_to(path, config)
        path.chmod(config.socket_mode)
        listening.listen(BACKLOG)
    except (OSError, KeyError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{config.origin or 'listener'}: cannot listen on {path}: {reason}") from None
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises OSError for one that answers, or any other file."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, "another program listens there")
    path.unlink()


def _give_to(path: Path, config: ListenerConfig) -> None:
    user, group = config.socket_user, config.socket_group
    if not user and not group:
        return
    try:
        uid = -1 if not user else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise OSError(errno.EINVAL, f"socket_user or socket_group: {error.args[0]}") from None
    os.chown(path, uid, gid)

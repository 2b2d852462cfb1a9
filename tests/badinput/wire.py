"""HTTP/1.1 as bytes on a socket: requests that no client library would agree to send."""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ..peers import Server

CLOSED = 0
"""The status of an answer that never came: the server closed the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `head` replaces everything up to the body, with `$TOKEN` for the root token."""

    method: str | bytes = "GET"
    target: str | bytes = "/v1/secret/data/x"
    body: bytes | None = None
    headers: tuple[tuple[str, str | bytes], ...] = ()
    head: bytes | None = None
    token: bool = True

    def render(self, server: Server) -> bytes:
        token = server.token.encode()
        if self.head is not None:
            return self.head.replace(b"$TOKEN", token) + (self.body or b"")
        lines = [_bytes(self.method) + b" " + _bytes(self.target) + b" HTTP/1.1", b"Host: " + server.netloc.encode()]
        if self.token:
            lines.append(b"X-Vault-Token: " + token)
        if self.body is not None:
            lines.append(b"Content-Length: %d" % len(self.body))
        lines += [_bytes(name) + b": " + _bytes(value) for name, value in self.headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (self.body or b"")


@dataclass(slots=True)
class Answer:
    """What came back; `sent` is how many bytes went out before it did."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int = 0


def exchange(server: Server, pieces: Iterable[bytes], method: str = "GET", timeout: float = 20) -> Answer:
    """Send the pieces until they end or the server answers, and read one answer."""
    sent = 0
    with connect(server, timeout) as connection:
        try:
            for piece in pieces:
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
                sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it closed
        answer = read_answer(connection, method)
    answer.sent = sent
    return answer


def connect(server: Server, timeout: float = 20) -> socket.socket:
    host, _, port = server.netloc.partition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    with http.client.HTTPResponse(connection, method=method) as response:
        try:
            response.begin()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (ConnectionError, http.client.HTTPException):
            return Answer(CLOSED)


@dataclass(slots=True)
class Peak:
    """The resident memory of a process, and how far it rose inside `with`, in bytes."""

    pid: int
    grown: int = 0
    _before: int = 0

    def __enter__(self) -> Self:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the high-water mark starts again from now
        self._before = self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.grown = self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.pid)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value

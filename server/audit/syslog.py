"""``syslog``: entries as messages to the machine's syslog daemon (RFC 3164, as its local socket takes them)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from ...framework.errors import InvalidRequest
from .options import Options

_FACILITIES: Final = {
    name: number for number, name in enumerate(
        ("KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP")
    )
} | {f"LOCAL{number}": 16 + number for number in range(8)}  # fmt: skip
_INFO: Final = 6
_SOCKETS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
_SECONDS: Final = 2.0


class SyslogDevice:
    """One message an entry. ``address``: the daemon's socket; empty is the usual one."""

    def __init__(self, facility: int, tag: str, address: str = "") -> None:
        self._head = f"<{facility << 3 | _INFO}>{tag}[{os.getpid()}]: ".encode()
        self._address = address
        self._socket: socket.socket | None = None

    @classmethod
    def from_options(cls, options: Options) -> Self:
        facility = options.text("facility", "AUTH").upper()
        tag = options.text("tag", "vault")
        address = options.text("address")
        options.finish()
        if facility not in _FACILITIES:
            raise InvalidRequest(f"unknown facility; use one of: {', '.join(_FACILITIES)}")
        if not (tag.isascii() and tag.isprintable() and len(tag) <= 64) or set(tag) & set(" :[]"):
            raise InvalidRequest("tag: at most 64 printable ASCII characters, no spaces, colons or brackets")
        return cls(_FACILITIES[facility], tag, address)

    def open(self) -> None:
        self.close()
        address = self._address or next((each for each in _SOCKETS if Path(each).exists()), _SOCKETS[0])
        error: OSError | None = None
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made = socket.socket(socket.AF_UNIX, kind)
            try:
                made.settimeout(_SECONDS)
                made.connect(address)
            except OSError as problem:
                made.close()
                error = error or problem
            else:
                self._socket = made
                return
        raise error or OSError("there is no syslog daemon")

    def write(self, entries: Sequence[bytes]) -> None:
        if self._socket is None:
            self.open()
        for entry in entries:
            message = self._head + entry.rstrip(b"\n")
            try:
                self._send(message)
            except TimeoutError:
                raise
            except OSError:
                self.open()  # the daemon was restarted
                self._send(message)

    def _send(self, message: bytes) -> None:
        assert self._socket is not None
        stream = self._socket.type == socket.SOCK_STREAM
        self._socket.sendall(message + b"\0" if stream else message)

    def reopen(self) -> None:
        self.open()

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

"""The harness's server behind a real listener on loopback, and a client that sends exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from caveau.server.access import handler
from caveau.server.config import ListenerConfig
from caveau.server.edge import Edge
from caveau.server.listeners import Listener
from caveau.tests.server.harness import Server


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def errors(self) -> list[str]:
        found: list[str] = self.json["errors"]
        return found


@dataclass
class Client:
    """One connection at a time; it is opened again when the server is to close it."""

    server: Server
    listener: Listener
    _reader: asyncio.StreamReader | None = field(default=None, repr=False)
    _writer: asyncio.StreamWriter | None = field(default=None, repr=False)

    async def ask(
        self, verb: str, path: str, body: Any = None, token: str | None = None, **headers: str | None
    ) -> Answer:
        """Send a request, by the root token unless told otherwise. ``x_y`` is the header ``x-y``; None leaves
        it out. ``body``: bytes as they are, anything else as JSON."""
        raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        sent: dict[str, str | None] = {"host": "test", "x-vault-token": self.server.root if token is None else token}
        if raw:
            sent["content-length"] = str(len(raw))
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{verb} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value)]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + raw, head=verb == "HEAD")

    async def send(self, data: bytes, *, head: bool = False) -> Answer:
        """Send bytes and read one answer."""
        if self._writer is None or self._reader is None:
            host, port = self.listener.address.rsplit(":", 1)
            self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(data)
        async with asyncio.timeout(10):
            answer, last = await self._read(self._reader, head)
        if last:
            await self.close()
        return answer

    async def _read(self, reader: asyncio.StreamReader, head: bool) -> tuple[Answer, bool]:
        """An answer, and whether it is the connection's last."""
        top, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        body = b"" if head else await reader.readexactly(int(headers.get("content-length", 0)))
        last = top.startswith("HTTP/1.0") or headers.get("connection") == "close"
        return Answer(int(top.split()[1]), headers, body), last

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self._writer = None


@contextlib.asynccontextmanager
async def serving(server: Server, **config: Any) -> AsyncIterator[Client]:
    """A client of ``server`` over HTTP; ``config`` are settings of the listener."""
    listener = Listener(ListenerConfig(address="127.0.0.1:0", tls_disable=True, **config))
    await asyncio.to_thread(listener.bind)
    await listener.serve(handler(Edge(server.core, listener.config), listener.config, server.core.config))
    client = Client(server, listener)
    try:
        yield client
    finally:
        await client.close()
        await listener.stop(1)

"""Requests of one connection, of which one waits."""

from __future__ import annotations

import asyncio

import pytest
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving


class Gate:
    """Holds up commits."""

    def __init__(self, server: Server) -> None:
        self._open = asyncio.Event()
        self._commit = server.core.physical.commit
        server.core.physical.commit = self._late  # type: ignore[method-assign]
        self.waiting = asyncio.Event()

    async def _late(self, batch: object) -> None:
        self.waiting.set()
        await self._open.wait()
        await self._commit(batch)  # type: ignore[arg-type]

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def server():
    server = await Server().start(("kv-v1",))
    yield server
    if not server.core.sealed:
        await server.seal()


async def test_requests_behind_one_that_waits_are_answered_in_their_order(server):
    async with serving(server) as http:
        gate = Gate(server)
        head = f"Host: x\r\nX-Vault-Token: {server.root}\r\n"
        write = f'POST /v1/kv-v1/a HTTP/1.1\r\n{head}Content-Length: 9\r\n\r\n{{"k":"v"}}'
        asking = asyncio.create_task(http.send(write.encode()))
        await gate.waiting.wait()
        http._writer.write(f"GET /v1/kv-v1/a HTTP/1.1\r\n{head}\r\n".encode())
        for _ in range(20):
            await asyncio.sleep(0)
        gate.open()
        assert (await asking).status == 204
        answer = await http.send(b"")
        assert answer.json["data"] == {"k": "v"}

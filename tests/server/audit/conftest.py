"""A server with a file device, and its entries."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from caveau.server import plugins
from caveau.tests.server.harness import Server

for _name in plugins.installed("audit"):  # importing reads files, which no test may do on the loop
    plugins.load("audit", _name)


class Memory:
    """A device that keeps its entries, and fails or hangs on demand."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.groups = 0
        self.error: OSError | None = None
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def open(self) -> None: ...

    def write(self, entries: Sequence[bytes]) -> None:
        self.begun.set()
        self.gate.wait(20)
        if self.error:
            raise self.error
        self.groups += 1
        self.written += entries

    def reopen(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Audited:
    server: Server
    memory: Memory = field(default_factory=Memory)

    async def enable(self, path: str = "file", **options: str) -> None:
        """Enable a file device, and have it write to memory."""
        options = {"file_path": "discard"} | options
        await self.server.call("update", f"sys/audit/{path}", {"type": "file", "options": options})
        self.server.core.audit.devices[f"{path}/"].channel.device = self.memory

    def text(self) -> str:
        return b"".join(self.memory.written).decode()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.memory.written]

    def last(self, kind: str = "response") -> dict[str, Any]:
        return [entry for entry in self.entries() if entry["type"] == kind][-1]


@pytest.fixture
async def audited():
    server = await Server().start(("kv-v1", "kv-v2"))
    yield Audited(server)
    if not server.core.sealed:
        await server.seal()

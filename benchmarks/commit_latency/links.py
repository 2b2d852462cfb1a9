"""Where nodes listen, and where others reach them over links that are as slow as asked."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
from dataclasses import asdict
from typing import Protocol

from . import namespaces
from .shape import Link

PORTS = (23000, 31999)  # below those that the kernel gives to clients


class Network(Protocol):
    """Places of nodes, counted from 0, and their links. ``service``: one of the ports that a node listens at."""

    how: str

    def inside(self, node: int) -> list[str]:
        """What a command begins with that runs at this place."""
        ...

    def listen(self, node: int, service: str) -> tuple[str, int]:
        """What a node binds for others to reach over their links."""
        ...

    def reach(self, node: int, service: str) -> tuple[str, int]:
        """The same, as the others see it."""
        ...

    def direct(self, node: int, service: str) -> tuple[str, int]:
        """What a node binds for the laboratory itself, which is not to wait for any link."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def network(nodes: int, link: Link, services: tuple[str, ...], *, shim: bool) -> Network:
    """``shim``: without namespaces, even if there are rights to make them."""
    if shim or (missing := namespaces.missing(link)):
        return Shim(nodes, link, services, "asked for" if shim else missing)
    return namespaces.Namespaces(nodes, link)


class Shim:
    """All nodes are on loopback. Behind a link, what others reach is a relay."""

    def __init__(self, nodes: int, link: Link, services: tuple[str, ...], why: str) -> None:
        self.how = f"TCP relays on loopback ({why})"
        self._link = link
        self._ports = {(node, service): free_port() for node in range(nodes) for service in services}
        self._relayed = {where: free_port() for where in self._ports} if link.shaped else {}
        self._process: asyncio.subprocess.Process | None = None

    def inside(self, node: int) -> list[str]:
        return []

    def listen(self, node: int, service: str) -> tuple[str, int]:
        return "127.0.0.1", self._ports[node, service]

    direct = listen

    def reach(self, node: int, service: str) -> tuple[str, int]:
        return "127.0.0.1", self._relayed.get((node, service)) or self._ports[node, service]

    async def start(self) -> None:
        if not self._relayed:
            return
        routes = [("127.0.0.1", port, *self.listen(*where)) for where, port in self._relayed.items()]
        config = {"link": list(asdict(self._link).values()), "routes": routes}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"{__package__}.relay", json.dumps(config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the relays did not start")

    async def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()


_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens at, and that was not given before."""
    while True:
        port = random.randint(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port

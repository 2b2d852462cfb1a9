"""Nodes of a cluster in one process, over real sockets and disks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from caveau.storage.raft.driver import Driver
from caveau.storage.raft.engine import Configuration, Server
from caveau.storage.raft.tls import TlsTransport

from .certificates import Authority


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Events:
    """A ``Listener`` that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def leading(self, term: int) -> None:
        self.seen.append(("leading", term))

    def following(self, term: int, leader: Server | None) -> None:
        self.seen.append(("following", term, leader))

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        self.seen.append(("applied", index, keys))

    def configured(self, configuration: Configuration) -> None:
        self.seen.append(("configured", configuration))

    def failed(self, reason: str) -> None:
        self.seen.append(("failed", reason))


class Cluster:
    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        self.ports: dict[str, int] = {}
        self.nodes: dict[str, Driver] = {}
        self.events: dict[str, Events] = {}

    @classmethod
    async def in_folder(cls, folder: Path) -> Cluster:
        return cls(folder, await asyncio.to_thread(Authority, folder))

    def address(self, name: str) -> str:
        port = self.ports.setdefault(name, free_port())
        return f"127.0.0.1:{port}"

    async def make(self, name: str) -> Driver:
        self.address(name)
        contexts = await asyncio.to_thread(self._authority.contexts, name)
        transport = TlsTransport(*contexts, ("127.0.0.1", self.ports[name]))
        node = self.nodes[name] = Driver(name, self._folder / name, transport)
        self.events[name] = Events()
        node.subscribe(self.events[name])
        return node

    async def start(self, *names: str) -> Driver:
        """The first leads, and the others are voters."""
        first = await self.make(names[0])
        await first.bootstrap(self.address(names[0]))
        await first.open()
        for name in names[1:]:
            await self.join(name)
        return first

    async def join(self, name: str, voter: bool = True) -> Driver:
        node = await self.make(name)
        await node.open()
        leader = await self.leader()
        await leader.add(Server(name, self.address(name)))
        if voter:
            await until(lambda: node.status.applied >= leader.status.commit - 1)
            await leader.promote(name)
        return node

    async def leader(self) -> Driver:
        await until(lambda: any(node.leading for node in self.nodes.values()))
        return max((n for n in self.nodes.values() if n.leading), key=lambda node: node.status.term)

    async def crash(self, name: str) -> None:
        """As a process that is killed: nothing is finished, and nobody is told."""
        node = self.nodes.pop(name)
        assert node._rounds is not None
        node._rounds.cancel()
        await asyncio.gather(node._rounds, return_exceptions=True)
        await node._transport.close()
        node._stop()


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Real sockets and disks have real time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def cluster(folder: Path, *names: str) -> AsyncIterator[Cluster]:
    made = await Cluster.in_folder(folder)
    await made.start(*names)
    try:
        yield made
    finally:
        for node in made.nodes.values():
            await node.close()

"""A cluster in one process without Raft: one log that all nodes see, and leadership by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from caveau.framework.errors import OutcomeUnknown
from caveau.framework.storage import Batch
from caveau.server.cluster.hello import Description
from caveau.server.config import ListenerConfig, ServerConfig
from caveau.server.core import Core
from caveau.storage.inmem import InmemStore
from caveau.storage.raft.engine import Configuration, Listener, NotLeader, Role, Server, Status
from caveau.storage.seals.shamir import ShamirSeal
from caveau.tests.server import harness
from caveau.tests.server.overhttp import Client, serving


class Log:
    """What was committed, and who leads."""

    def __init__(self) -> None:
        self.entries: list[Batch] = []
        self.engines: list[Engine] = []
        self.leader: Engine | None = None
        self.term = 0

    def lead(self, engine: Engine | None) -> None:
        """Make a node the leader (None: there is none), as if the one before had not noticed in time."""
        old, self.leader = self.leader, engine
        self.term += 1
        if old is not None:
            old.lose()
        for each in self.engines:
            if each is not engine:
                each.tell(lambda listener: listener.following(self.term, engine and engine.server))
                if each.awake:
                    asyncio.get_running_loop().call_soon(each.catch_up)
        if engine is not None:
            engine.catch_up()
            engine.tell(lambda listener: listener.leading(self.term))

    def append(self, batch: Batch) -> int:
        self.entries.append(dict(batch))
        for each in self.engines:
            if each.awake and each is not self.leader:
                asyncio.get_running_loop().call_soon(each.catch_up)
        return len(self.entries)


class Engine:
    """A node's view of the log. ``awake``: whether it gets what is committed."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self.table = InmemStore()
        self.server = Server(name, f"{name}:8201")
        self.index = 0
        self.awake = True
        self.reached = asyncio.Event()
        self.asked = 0  # read indexes
        self.unknown = False  # whether what is proposed now is stored, and nobody hears of it
        self._listeners: list[Listener] = []
        log.engines.append(self)

    def tell(self, what: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            what(listener)

    def lose(self) -> None:
        leader = self._log.leader
        self.tell(lambda listener: listener.following(self._log.term, leader and leader.server))

    def catch_up(self) -> None:
        new, start = self._log.entries[self.index :], self.index
        for batch in new:
            self.table.commit(batch)
        self.index += len(new)
        if new:
            keys = {key for batch in new for key in batch}
            self.tell(lambda listener: listener.applied(start + len(new), keys))
        reached, self.reached = self.reached, asyncio.Event()
        reached.set()

    # RaftEngine

    @property
    def status(self) -> Status:
        role = Role.LEADER if self.leading else Role.FOLLOWER
        last = len(self._log.entries)
        members = Configuration(tuple(each.server for each in self._log.engines), 1)
        return Status(self.server.id, role, self._log.term, self.leader, 0, last, last, self.index, members)

    @property
    def leader(self) -> Server | None:
        return self._log.leader and self._log.leader.server

    @property
    def leading(self) -> bool:
        return self._log.leader is self

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def propose(self, batch: Batch) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self.leading:
            done.set_exception(NotLeader(self.leader))
            return done
        index = self._log.append(batch)
        if self.unknown:
            done.set_exception(OutcomeUnknown("lost"))
            self._log.lead(None)
            return done
        self.table.commit(batch)
        self.index = index
        asyncio.get_running_loop().call_soon(lambda: done.done() or done.set_result(index))
        return done

    async def read_index(self) -> int:
        self.asked += 1
        if self._log.leader is None:
            raise NotLeader(None)
        index = len(self._log.entries)
        await self.applied(index)
        return index

    async def applied(self, index: int) -> None:
        while self.index < index:
            await self.reached.wait()


class Store:
    """The physical store of one node."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return await self.engine.table.get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        await asyncio.sleep(0)
        return await self.engine.table.list(prefix, after, limit)

    def commit(self, batch: Batch) -> Awaitable[Any]:
        return self.engine.propose(batch)


class Link:
    """Connections between nodes, without TLS. ``members``: whether who passes requests on is believed."""

    def __init__(self, log: Log, engine: Engine, ports: dict[str, asyncio.Server]) -> None:
        self._log = log
        self._engine = engine
        self._ports = ports
        self._protocol: Callable[[], asyncio.BaseProtocol]
        self.members = True
        self.connections = 0

    def forwarding(self, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._protocol = protocol

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._ports[self._engine.server.id] = await loop.create_server(self._protocol, "127.0.0.1", 0)

    def member(self, transport: asyncio.BaseTransport) -> Server | None:
        return self._engine.server if self.members else None

    async def ask(self, server: Server, *, again: bool = True) -> Description | None:
        return Description(server.id, server.id, f"http://{server.id}:8200", "", "")

    async def connect_to_leader(self, protocol: Callable[[], Any]) -> Any:
        leader = self._log.leader
        if leader is None:
            raise NotLeader(None)
        self.connections += 1
        port = self._ports[leader.server.id].sockets[0].getsockname()[1]
        return await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", port)


class Node(harness.Server):
    """One server of the cluster, and a client of its listener."""

    client: Client

    def __init__(self, log: Log, name: str, ports: dict[str, asyncio.Server], clock: Any, **config: Any) -> None:
        super().__init__()
        self.engine = Engine(log, name)
        self.clock = clock
        self.core = Core(
            ServerConfig(api_addr=f"http://{name}:8200", **config), Store(self.engine), ShamirSeal(), clock=clock
        )
        assert self.core.leadership is not None
        self.link = Link(log, self.engine, ports)
        self.core.leadership.join(self.link)
        self.ask = self._ask

    async def _ask(self, verb: str, path: str, body: Any = None, token: str | None = None, **headers: Any) -> Any:
        return await self.client.ask(verb, f"/v1/{path}", body, token, **headers)


class Cluster:
    """Nodes ``a``, ``b`` and so on, of which the first leads."""

    def __init__(self, nodes: list[Node], log: Log) -> None:
        self.nodes = nodes
        self.log = log

    def lead(self, number: int | None) -> None:
        self.log.lead(None if number is None else self.nodes[number].engine)

    async def settled(self) -> None:
        """Return once all nodes are what they are to be."""
        for node in self.nodes:
            leadership = node.core.leadership
            assert leadership is not None
            await leadership._settled()


@contextlib.asynccontextmanager
async def cluster(size: int = 2, listener: ListenerConfig | None = None, **config: Any) -> AsyncIterator[Cluster]:
    log, ports = Log(), dict[str, asyncio.Server]()
    nodes: list[Node] = []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(size):
            clock = nodes[0].clock if nodes else harness.FakeClock()
            node = Node(log, "abcdefg"[number], ports, clock, **config)
            nodes.append(node)
            await node.link.listen()
        log.lead(nodes[0].engine)
        await nodes[0].start(("kv-v2",))
        for node in nodes:
            node.root, node.keys = nodes[0].root, nodes[0].keys
            if node is not nodes[0]:
                node.engine.catch_up()
                await node.unseal()
            node.client = await stack.enter_async_context(serving(node))
        try:
            yield Cluster(nodes, log)
        finally:
            for node in nodes:
                await node.core.stop()
            for port in ports.values():
                port.close()

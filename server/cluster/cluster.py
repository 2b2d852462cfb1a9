"""This node among the others: what the rest of the server asks of the cluster, and tells it.

``Core.raft`` is one if the store is Raft's, else None.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ...framework.errors import CaveauError
from ...storage.barrier import Barrier
from ...storage.raft.engine import NotLeader, RaftEngine, Server
from ...storage.raft.tls import ALPN, name_of
from ..config import ConfigError, ServerConfig, join_address, split_address
from .identity import RENEWED, Authority, Credentials
from .port import Port

if TYPE_CHECKING:
    from ...framework.clock import Clock
    from .store import ClusterStore

_log = logging.getLogger(__name__)

FORWARD = "caveau-forward/1"
"""ALPN name of the connections on which nodes pass requests on to the leader."""
AUTHORITY = "core/raft/authority"
_CHECK_SECONDS = 60.0
_CONNECT_SECONDS = 5.0

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Cluster:
    """One node's view of its cluster.

    ``engine`` knows who leads (``engine.leading``, ``engine.leader``) and tells of changes (``engine.subscribe``).
    """

    def __init__(self, store: ClusterStore, config: ServerConfig, clock: Clock) -> None:
        self.store = store
        self.node = store.node
        self.engine: RaftEngine = store.engine
        self.identity = store.identity
        self.config = config
        self.clock = clock
        self.port = Port(self.identity.server)
        self.port.protocols[ALPN] = store.transport.protocol
        self.address = ""
        """``host:port`` at which other nodes reach this one."""
        self._authority: Authority | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # For whoever passes requests on to the leader

    def forwarding(self, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        """Have ``protocol`` make the protocol of every connection on which another member passes requests on to
        this node. Who that is, ``member`` tells of the transport. Once, before the node is unsealed."""
        self.port.protocols[FORWARD] = protocol

    def member(self, transport: asyncio.BaseTransport) -> Server | None:
        """The member at the other end of a connection to the cluster's port; None: it has been removed."""
        try:
            node = name_of(transport.get_extra_info("peercert") or {})
        except ValueError:
            return None
        return self.engine.status.configuration.find(node)

    async def connect_to_leader(self, protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A connection to the leader's ``forwarding``, and its protocol, as ``loop.create_connection`` gives them.

        It is certain that the leader known at the moment is at its other end; whether it still leads it says itself.
        Raises NotLeader if none is known, or it cannot be reached: nothing was sent.
        """
        leader = self.engine.leader
        if leader is None or leader.id == self.node or not leader.address:
            raise NotLeader(leader)
        try:
            return await self.connect(leader, FORWARD, protocol)
        except OSError as error:  # a TimeoutError and an ssl.SSLError are some
            _log.info("node %s, the leader, cannot be reached at %s: %s", leader.id, leader.address, error)
            raise NotLeader(leader) from None

    async def connect(self, server: Server, name: str, protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A connection to a member that speaks ``name``. Raises OSError."""
        if self.identity.credentials is None:
            raise ConnectionError("this node has no certificate: it is sealed")
        host, port = split_address(server.address)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            transport, made = await loop.create_connection(
                protocol, host, port, ssl=self.identity.client(name), server_hostname=host
            )
        if name_of(transport.get_extra_info("peercert")) != server.id:
            transport.abort()
            raise ConnectionError(f"another node than {server.id} answers at {server.address}")
        return transport, made

    # The process

    def bind(self) -> None:
        """Take the addresses that the configuration says. Raises ConfigError."""
        if self.config.disable_clustering:
            self.address = self._advertised(8201)
            return
        number = 0
        for listener in self.config.listeners:
            if listener.type != "tcp":
                continue
            host, port = split_address(listener.address)
            if listener.cluster_address:
                host, port = split_address(listener.cluster_address)
            elif port:
                port += 1
            try:
                number = self.port.bind(host, port)
            except OSError as error:
                where = f"{listener.origin}: " if listener.origin else ""
                raise ConfigError(
                    f"{where}cluster_address: cannot listen on {join_address(host, port)}: {error.strerror}"
                ) from None
        self.address = self._advertised(number or 8201)

    def _advertised(self, number: int) -> str:
        given = self.config.cluster_addr
        if given:
            parts = urlsplit(given if "://" in given else f"https://{given}")
            return join_address(parts.hostname or "", parts.port or number)
        return join_address(urlsplit(self.config.api_addr).hostname or "127.0.0.1", number)

    async def bootstrap(self) -> None:
        """Make this node, if it is a member of no cluster yet, a cluster of one."""
        await self.store.bootstrap(self.address)

    async def close(self) -> None:
        """The process ends; the store is closed by whoever opened it, and needs its connections for that."""
        await self._stop()
        self.port.close()

    # The seal

    async def unsealed(self, barrier: Barrier) -> None:
        """Take part in the cluster: certificate, port, connections. Raises StoreError."""
        raw = await self.store.get(AUTHORITY)
        if raw is None:
            self._authority = await self._found(barrier)
        else:
            self._authority = Authority.load(barrier.decrypt(AUTHORITY, raw))
        await self.renew()
        await self.open()
        self.spawn(self._renew_in_time())

    async def sealing(self) -> None:
        """Let another node lead, and leave the conversation: without its keys a node has no certificate."""
        await self._stop()
        if self.engine.leading and len(self.engine.status.configuration.voters) > 1:
            with contextlib.suppress(CaveauError):
                await self.engine.transfer()
        self.port.pause()
        await self.store.gate.lock()
        self._authority = None

    async def open(self) -> None:
        """Begin to talk to other nodes, with the credentials there are."""
        if self.port.bound:
            self.port.pause()
            await self.port.serve()
        await self.store.gate.unlock()

    async def use(self, credentials: Credentials) -> None:
        await asyncio.to_thread(self.identity.use, credentials)

    async def renew(self) -> None:
        """Show a new certificate from now on."""
        assert self._authority is not None
        await self.use(await asyncio.to_thread(self._authority.credentials, self.node, self.clock.time()))

    def renewal_due(self) -> bool:
        credentials = self.identity.credentials
        return credentials is not None and credentials.ends - RENEWED <= self.clock.time()

    async def _renew_in_time(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self.renewal_due():
                await self.renew()

    async def _found(self, barrier: Barrier) -> Authority:
        authority = await asyncio.to_thread(Authority.make, self.clock.time())
        await self.store.commit({AUTHORITY: barrier.encrypt(AUTHORITY, authority.dump())})
        return authority

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the node is sealed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

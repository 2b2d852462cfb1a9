"""This node among the others: what the rest of the server asks of the cluster, and tells it.

``Core.raft`` is one if the store is Raft's, else None.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import orjson

from ... import VAULT_VERSION
from ...framework.errors import CaveauError, InvalidRequest, Sealed
from ...storage.barrier import Barrier
from ...storage.raft.engine import Configuration, NotLeader, RaftEngine, Server
from ...storage.raft.tls import ALPN, name_of
from ..config import ConfigError, ServerConfig, join_address, split_address
from .admission import NODES, Admission
from .autopilot import Autopilot
from .hello import Description, Heard, Said
from .identity import RENEWED, Authority, Credentials
from .joining import Joining
from .measures import Measures
from .port import FORWARD, HELLO, Port

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from ...framework.clock import Clock
    from ...framework.metrics import Metrics
    from ..seal import SealCore
    from .store import ClusterStore

_log = logging.getLogger(__name__)

AUTHORITY = "core/raft/authority"
_TICK_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_HELLO_SECONDS = 1.0

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
        self.port.protocols[HELLO] = lambda: Said(self.about())
        self.autopilot = Autopilot(self)
        self.admission: Admission
        self.joining: Joining
        self.measures: Measures
        self.address = ""
        """``host:port`` at which other nodes reach this one."""
        self.active_since = 0.0
        """When this node began to lead, in seconds since the epoch; 0: it does not."""
        self.moved = asyncio.Event()
        """Set whenever other nodes changed the state."""
        self._barrier: Barrier | None = None
        self._authority: Authority | None = None
        self._heard: dict[str, tuple[int, Description]] = {}  # by node: the term in which it said so
        self._tasks: set[asyncio.Task[None]] = set()
        self.engine.subscribe(self)

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

    # The others

    def about(self) -> Description:
        """This node, for others."""
        return Description(
            id=self.node,
            hostname=socket.gethostname(),
            api_addr=self.config.api_addr,
            cluster_addr=f"https://{self.address}",
            version=VAULT_VERSION,
            active_since=self.active_since,
        )

    async def ask(self, server: Server, *, again: bool = True) -> Description | None:
        """What a member says of itself; None if it does not answer. ``again``: not only if it is not known what it
        said since the last election."""
        if server.id == self.node:
            return self.about()
        term, known = self._heard.get(server.id, (-1, None))
        if known is not None and not again and term == self.engine.status.term:
            return known
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                _, heard = await self.connect(server, HELLO, Heard)
                told = await heard.about
        except OSError:
            return None
        self._heard[server.id] = self.engine.status.term, told
        return told

    async def remove(self, node: str) -> None:
        """No longer a member. Leader only. Raises MembershipRefused."""
        await self.engine.remove(node)
        await self.write({NODES + node: None})
        self._heard.pop(node, None)

    async def promote(self, node: str) -> None:
        """A non-voter votes from now on. Leader only. Raises MembershipRefused."""
        await self.engine.promote(node)
        await self.write({NODES + node: orjson.dumps({"non_voter": False})})

    async def demote(self, node: str) -> None:
        """A voter follows only, and autopilot leaves it so. Leader only. Raises MembershipRefused."""
        await self.engine.demote(node)
        await self.write({NODES + node: orjson.dumps({"non_voter": True})})

    async def step_down(self) -> None:
        """Let another node lead, if this one does and is not alone. Raises MembershipRefused."""
        if self.engine.leading and len(self.engine.status.configuration.voters) > 1:
            await self.engine.transfer()

    # What is kept in the store

    async def read(self, key: str) -> bytes | None:
        """The value of one of the cluster's own entries; raises Sealed."""
        raw = await self.store.get(key)
        return None if raw is None else self._open_barrier().decrypt(key, raw)

    async def write(self, entries: Mapping[str, bytes | None]) -> None:
        """Store entries together. Leader only."""
        barrier = self._open_barrier()
        await self.store.commit(
            {key: None if value is None else barrier.encrypt(key, value) for key, value in entries.items()}
        )

    async def issue(self, node: str, key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """A certificate for another node, and that of the authority, PEM; raises Sealed."""
        authority = self._authority
        if authority is None:
            raise Sealed
        return await asyncio.to_thread(authority.issue, node, key, self.clock.time()), authority.pem

    def _open_barrier(self) -> Barrier:
        if self._barrier is None:
            raise Sealed
        return self._barrier

    # The process

    def attach(self, seal: SealCore, metrics: Metrics) -> None:
        """Before anything else is asked."""
        self.measures = Measures(metrics, self.engine)
        self.admission = Admission(self, seal)
        self.joining = Joining(self, seal)

    async def begin(self) -> None:
        """The process has started: look for a cluster, if the configuration names some and this node is in none."""
        settings = self.store.settings
        if settings.retry_join and not self.joining.member:
            self.joining.begin(*settings.retry_join, non_voter=settings.non_voter)

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
        """Make this node, if it is a member of no cluster yet, a cluster of one. Raises InvalidRequest."""
        if self.joining.admitted:
            raise InvalidRequest("this node has joined a cluster, whose state is on its way: unseal it then")
        await self.store.bootstrap(self.address)

    async def close(self) -> None:
        """The process ends; the store is closed by whoever opened it, and needs its connections for that."""
        await self.joining.close()
        await self._stop()
        self.port.close()

    # The seal

    async def unsealed(self, barrier: Barrier) -> None:
        """Take part in the cluster: certificate, port, connections. Raises StoreError."""
        self._barrier = barrier
        raw = await self.read(AUTHORITY)
        if raw is None:
            self._authority = await asyncio.to_thread(Authority.make, self.clock.time())
            await self.write({AUTHORITY: self._authority.dump()})
        else:
            self._authority = Authority.load(raw)
        await self.renew()
        await self.open()
        self._spawn(self._tend())

    async def sealing(self) -> None:
        """Let another node lead, and leave the conversation: without its keys a node has no certificate."""
        await self._stop()
        with contextlib.suppress(CaveauError):
            await self.step_down()
        self.port.pause()
        await self.store.gate.lock()
        self._authority = self._barrier = None

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

    async def tend(self) -> None:
        """What is due from time to time: a new certificate, and on the leader what keeps the members well."""
        if self.renewal_due():
            await self.renew()
        if self.engine.leading:
            itself = self.engine.status.configuration.find(self.node)
            if itself is not None and self.address and itself.address != self.address:
                await self.engine.add(Server(self.node, self.address))
            await self.autopilot.tick()
            self.measures.collect()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                await self.tend()
            except CaveauError as error:
                _log.info("looking after the cluster: %s; it is tried again", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the node is sealed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the engine tells

    def leading(self, term: int) -> None:
        self.active_since = self.clock.time()
        self.autopilot.forget()

    def following(self, term: int, leader: Server | None) -> None:
        self.active_since = 0.0

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        self.moved.set()

    def configured(self, configuration: Configuration) -> None:
        """The engine's status has it."""

    def failed(self, reason: str) -> None:
        self.active_since = 0.0

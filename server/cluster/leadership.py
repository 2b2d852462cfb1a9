"""This node's part in the cluster: active, or following the one that is; and what becomes of a request in each.

The log decides who leads. An open node is made active or following by loading what is stored anew beside what serves,
and changing over: nothing that one part keeps in memory is left for the other. Until then requests that could be
answered by either wait. A node that lost leadership commits nothing from that moment on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from ...framework import Response
from ...framework.errors import InvalidRequest, NeedsLeader, NotActive, Sealed, Unavailable
from ...storage.barrier import CorruptEntry
from ..replication_state import INDEX, Index
from .consistency import Consistency
from .following import Following
from .places import READS, anywhere, of_this_node

if TYPE_CHECKING:
    from ...storage.raft.engine import Configuration, RaftEngine, Server
    from ...storage.store import Store
    from ..core import Core
    from ..http_request import HttpRequest
    from ..namespaces import Namespaces
    from ..request import Incoming
    from .passing import Link, Passing

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 1.0
_PATIENCE = 5.0  # seconds that a request waits for a change of parts
_FORWARD, _NO_FORWARDING = "X-Vault-Forward", "X-Vault-No-Request-Forwarding"


class Leadership:
    """Told by the log who leads (``Listener``)."""

    def __init__(self, core: Core, engine: RaftEngine) -> None:
        self._core = core
        self._engine = engine
        self._following = Following(core)
        self._consistency = Consistency(engine)
        self._link: Link | None = None
        self._passing: Passing | None = None
        self._reads_here = not core.config.disable_standby_reads
        self._alone = False  # whether there is no other voter
        self._lost = self._served = 0  # how often leadership was lost; and by when what serves was loaded
        self._changing: asyncio.Task[None] | None = None
        self._leader: str | None = None
        engine.subscribe(self)

    def join(self, link: Link) -> None:
        """Pass requests on over this, and take those that others pass on."""
        from ..edge import Edge
        from .passing import LIMITS, Passing

        self._link, self._passing = link, Passing(link)
        self._passing.serve(Edge(self._core, LIMITS, between_nodes=True))

    async def leave(self) -> None:
        """The process ends: take no more, and let those under way come to their end."""
        if self._passing is not None:
            await self._passing.close()

    @property
    def leads(self) -> bool:
        """Whether the log would take what this node writes."""
        return self._engine.leading

    @property
    def follows(self) -> bool:
        """Whether this node is open, and does not write."""
        namespaces = self._core.namespaces
        return namespaces is not None and not (namespaces.active and self._engine.leading)

    @property
    def reads_here(self) -> bool:
        """Whether a node that follows answers reads itself."""
        return self._reads_here

    def tell(self, store: Store) -> None:
        """A store is going to be read, of which the log tells what changes."""
        self._served = self._lost
        self.configured(self._engine.status.configuration)  # it may have been open before anybody listened
        self._following.tell(store)

    # What the log tells

    def leading(self, term: int) -> None:
        self._change_soon()

    def following(self, term: int, leader: Server | None) -> None:
        self._lost += 1
        namespaces = self._core.namespaces
        if namespaces is not None and namespaces.active:
            namespaces.store.close(NotActive)
        if leader is not None and leader.id != self._leader:
            self._leader = leader.id
            if self._passing is not None:
                self._passing.reset()
        self._change_soon()

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        self._following.changed(keys)

    def configured(self, configuration: Configuration) -> None:
        self._alone = len(configuration.voters) == 1

    def failed(self, reason: str) -> None:
        if (namespaces := self._core.namespaces) is not None:
            namespaces.store.close(NotActive)

    # Changing parts

    def _change_soon(self) -> None:
        if self._changing is None and self._core.namespaces is not None:
            self._changing = asyncio.create_task(self._change(), name="change parts in the cluster")

    async def _change(self) -> None:
        core = self._core
        try:
            while True:
                async with core.seal.lock:
                    while (namespaces := core.namespaces) is not None and not self._fits(namespaces):
                        active = self.leads
                        try:
                            await core.serve(active=active)
                        except Exception:
                            _log.exception("this node cannot %s; it is tried again", "lead" if active else "follow")
                            break
                        core.seal.abandon()
                        _log.info("this node is %s", "active" if active else "following the active node")
                    else:
                        return
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            self._changing = None

    def _fits(self, namespaces: Namespaces) -> bool:
        """Whether what serves is for the part that this node has now."""
        return namespaces.active == self.leads and (not namespaces.active or self._served == self._lost)

    async def _settled(self) -> None:
        if (task := self._changing) is not None:
            await asyncio.wait({task}, timeout=_PATIENCE)
            if not task.done():
                raise Unavailable("this node is about to change its part in the cluster; try again")
        await self._following.settled()

    # Requests

    async def answer(self, request: HttpRequest, incoming: Incoming, *, passed_on: bool = False) -> Response:
        """Answer a request here, or have the active node answer it; raises CaveauError.

        ``passed_on``: by another node, which took this one for the active one.
        """
        core = self._core
        if core.node is None:
            return await core.handle(incoming)
        if of_this_node(incoming.path):
            try:
                return await core.handle(incoming)
            except NeedsLeader:
                raise InvalidRequest("only the active node can count the use of a token, or wrap an answer") from None
        await self._settled()
        if (namespaces := core.namespaces) is None:
            raise Sealed
        if namespaces.active:
            return await self._lead(incoming)
        if passed_on:
            raise NotActive
        return await self._follow(namespaces, request, incoming)

    async def _lead(self, incoming: Incoming) -> Response:
        if incoming.op in READS:
            if not self._alone:
                await self._consistency.current()
            return await self._core.handle(incoming)
        response = await self._core.handle(incoming)
        index = Index(self._core.cluster["cluster_id"], self._engine.status.applied)
        response.headers = {**response.headers, INDEX: index.text()}
        return response

    async def _follow(self, namespaces: Namespaces, request: HttpRequest, incoming: Incoming) -> Response:
        core, headers = self._core, incoming.headers
        if (
            not self._reads_here
            or headers.get(_FORWARD) == "active-node"
            or not await anywhere(namespaces, incoming)
            or not await self._consistency.satisfied(headers, core.cluster["cluster_id"])
        ):
            if core.audit.devices:
                core.audit.passed_on(namespaces.root, incoming)
            return await self._pass_on(request, incoming)
        await self._settled()
        where = incoming.namespace, incoming.path
        try:
            try:
                return await core.handle(incoming)
            except CorruptEntry:  # or it is encrypted with a key that was not here yet
                if not self._following.behind:
                    raise
                await self._settled()
                incoming.namespace, incoming.path = where
                return await core.handle(incoming)
        except NeedsLeader:
            return await self._pass_on(request, incoming)

    async def _pass_on(self, request: HttpRequest, incoming: Incoming) -> Response:
        if self._passing is None:
            raise Unavailable("this node is not the active one, and cannot reach it; try again")
        if incoming.headers.get(_NO_FORWARDING):
            if not (address := await self.leader_address()):
                raise Unavailable("this node is not the active one, and does not know where clients find that")
            return Response(status=307, body=b"", headers={"Location": address.rstrip("/") + request.raw_path})
        return await self._passing.send(request, incoming)

    async def leader_address(self) -> str:
        """Where clients find the active node, as it says itself; empty when it does not."""
        leader = self._engine.leader
        about = None if leader is None or self._link is None else await self._link.ask(leader, again=False)
        return about.api_addr if about else ""

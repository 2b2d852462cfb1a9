"""``storage "raft"``: the store of a node that is a cluster, or part of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

from ...framework.errors import StoreError
from ...storage.raft.driver import Driver
from ...storage.raft.store import RaftStore
from ...storage.raft.tls import ALPN, TlsTransport
from .gate import Gate
from .identity import Identity
from .peers import take_up
from .port import FORWARD, HELLO
from .settings import Settings


class ClusterStore(RaftStore):
    """A ``Physical`` store. ``server.cluster.Cluster`` is what makes it reach other nodes."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreError if the directory cannot be used."""
        self.settings = settings
        try:
            self.node = settings.node()
        except OSError as error:
            raise StoreError(f"{settings.path}: {error.strerror}") from None
        self.identity = Identity((ALPN, FORWARD, HELLO))
        self.transport = TlsTransport(self.identity.client(ALPN), self.identity.server)
        self.gate = Gate(self.transport)
        super().__init__(Driver(self.node, settings.path, self.gate, multiplier=settings.performance_multiplier))

    @classmethod
    def from_config(cls, options: Mapping[str, str]) -> Self:
        """Raises InvalidRequest naming the setting that is missing, wrong or unknown."""
        return cls(Settings.of(options))

    async def open(self) -> None:
        await asyncio.to_thread(take_up, self.settings.path, self.node)
        await super().open()

    async def bootstrap(self, address: str) -> None:
        """Make a new node a cluster of one, that others reach at ``address``. Nothing happens if it is a member."""
        if not self.engine.status.configuration.servers:
            await self.engine.close()
            try:
                await self.engine.bootstrap(address)
            finally:
                await self.engine.open()

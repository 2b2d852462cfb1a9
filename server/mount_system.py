"""What engines may ask of the server that they are mounted in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..framework import Intent, Lease, View
from ..framework.errors import InvalidRequest
from ..storage.prefix import PrefixView
from ..storage.store import Transaction

if TYPE_CHECKING:
    from .node import Node

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MountSystem:
    """What one mount's engine may ask of the server."""

    node: Node
    point: str
    prefix: str  # of storage keys

    def default_ttl(self) -> int:
        return self.node.ttls(self.point)[0]

    def max_ttl(self) -> int:
        return self.node.ttls(self.point)[1]

    def lease_ttl(self, lease: Lease, increment: int = 0) -> int:
        return self.node.leases.lifetime(self.point, lease, increment).ttl

    async def generate_password(self, policy: str) -> str:
        return await self.node.passwords.generate(self.node.store, policy)

    async def transact(self, work: Callable[[View], Awaitable[T]], *, settles: Intent | None = None) -> T:
        async def whole(txn: Transaction) -> T:
            result = await work(PrefixView(txn, self.prefix))
            if settles is not None:
                self.node.intents.settle(txn, settles)
            return result

        return await self.node.store.run(whole)

    @contextlib.asynccontextmanager
    async def intend(self, kind: str, details: Mapping[str, Any]) -> AsyncIterator[Intent]:
        mount = self.node.router.get(self.point)
        if mount is None:
            raise InvalidRequest(f"the mount at {self.point} is out of service")
        ids: list[str] = []
        try:
            yield await self.node.intents.note(mount, mount.point, kind, details, ids)
        finally:
            self.node.intents.release(ids, failed=True)

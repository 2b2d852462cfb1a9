"""A whole server without its HTTP, on an in-memory store and a clock that tests advance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any

from caveau.framework import Response
from caveau.framework.clock import FakeClock
from caveau.framework.errors import PermissionDenied
from caveau.framework.storage import Batch
from caveau.server import plugins
from caveau.server.config import ServerConfig
from caveau.server.core import Core
from caveau.server.node import Node
from caveau.server.request import Incoming
from caveau.server.seal import initialize
from caveau.storage.inmem import InmemStore
from caveau.storage.seals.shamir import ShamirSeal

for _kind in ("secret", "auth"):
    for _name in plugins.installed(_kind):  # importing reads files, which no test may do on the loop
        plugins.load(_kind, _name)


class SlowStore(InmemStore):
    """Every access lets other tasks run first, as a real store would."""

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return await super().get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        await asyncio.sleep(0)
        return await super().list(prefix, after, limit)

    def commit(self, batch: Batch) -> Awaitable[None]:
        done = super().commit(batch)

        async def later() -> None:
            await asyncio.sleep(0)
            await done

        return later()


class Server:
    """A core and what a client of it needs: ``root`` (a token), ``keys`` (unseal keys), ``call``."""

    def __init__(self, store: InmemStore | None = None, **config: Any) -> None:
        self.clock = FakeClock()
        self.store = store or InmemStore()
        self.core = Core(ServerConfig(**config), self.store, ShamirSeal(), clock=self.clock)
        self.root = ""
        self.keys: list[str] = []
        self._ids = itertools.count(1)

    @property
    def node(self) -> Node:
        return self.core.unsealed()

    async def start(self, mounts: tuple[str, ...] = ()) -> Server:
        """Initialise with one key, unseal, and mount engines: ``kv-v2`` at ``kv-v2/`` and so on."""
        made = await initialize(self.core.seal, secret_shares=1, secret_threshold=1)
        self.keys, self.root = made["keys_base64"], made["root_token"]
        await self.unseal()
        for kind in mounts:
            await self.call("update", f"sys/mounts/{kind}", {"type": kind})
        return self

    async def unseal(self) -> None:
        await self.core.seal.unseal(self.keys[0])

    async def seal(self) -> None:
        await self.core.seal.seal()

    async def call(
        self, op: str, path: str, data: dict[str, Any] | None = None, token: str | None = None, **incoming: Any
    ) -> Response:
        """One request, by the root token unless told otherwise ("" is without one); raises CaveauError."""
        if op in ("list", "scan") and not path.endswith("/"):
            path += "/"
        return await self.core.handle(
            Incoming(
                f"request-{next(self._ids)}",
                op,
                path,
                token=self.root if token is None else token,
                data=data or {},
                **({"remote_address": "127.0.0.1"} | incoming),
            )
        )

    async def token(self, policies: list[str] | None = None, *, by: str | None = None, **params: Any) -> str:
        """Create a token and give its text; ``at`` is the path to create it at."""
        path = params.pop("at", "auth/token/create")
        if policies is not None:
            params["policies"] = policies
        response = await self.call("update", path, params, by)
        text: str = response.auth["client_token"]
        return text

    async def policy(self, name: str, rules: str) -> None:
        await self.call("update", f"sys/policies/acl/{name}", {"policy": rules})

    async def lookup(self, token: str) -> dict[str, Any]:
        response = await self.call("update", "auth/token/lookup", {"token": token})
        found: dict[str, Any] = response.data
        return found

    async def alive(self, token: str) -> bool:
        try:
            await self.lookup(token)
        except PermissionDenied:
            return False
        return True

    async def reap(self) -> int:
        """End what is due now, as the background task would."""
        return await self.node.expiry.reap(self.clock.time())

    async def keys_stored(self, prefix: str = "") -> list[str]:
        """Every key of the physical store under ``prefix``."""
        found, folders = [], [prefix]
        while folders:
            folder = folders.pop()
            for name in await self.store.list(folder):
                (folders if name.endswith("/") else found).append(folder + name)
        return found

    async def plain(self) -> dict[str, bytes]:
        """Every entry behind the barrier, decrypted."""
        return {
            key: self.core.seal.barrier.decrypt(key, sealed)
            for key in await self.keys_stored("namespaces/")
            if (sealed := await InmemStore.get(self.store, key)) is not None
        }

"""A server with two auth mounts whose accessors aliases can name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from caveau.server.mounts import MountEntry
from caveau.server.tokens import TokenEntry
from caveau.tests.server.harness import Server


class Identities(Server):
    """What tests of identity do all the time. ``mounts``: entries of two auth mounts, ``one`` and ``two``."""

    mounts: dict[str, MountEntry]

    async def prepare(self) -> Identities:
        await self.start(("kv-v1",))
        self.mounts = {}
        for name in ("one", "two"):  # any engine will do: nobody logs in through it but these tests
            entry = MountEntry.new(f"{name}/", "token", table="auth")
            await self.node.store.run(lambda txn, entry=entry: self.node.enable(txn, entry, txn.on_commit))
            self.mounts[name] = entry
        return self

    def accessor(self, mount: str = "one") -> str:
        return self.mounts[mount].accessor

    async def write(self, path: str, **data: Any) -> dict[str, Any]:
        response = await self.call("update", f"identity/{path}", data)
        return response.data or {}

    async def read(self, path: str) -> dict[str, Any]:
        return (await self.call("read", f"identity/{path}")).data

    async def entity(self, name: str, **data: Any) -> str:
        return (await self.write("entity", name=name, **data))["id"]

    async def group(self, name: str, **data: Any) -> str:
        return (await self.write("group", name=name, **data))["id"]

    async def login(self, name: str, mount: str = "one", **more: Any) -> str:
        """The entity id that a login under ``name`` gets."""
        login = self.node.identity.login
        return (await self.node.store.run(lambda txn: login(txn, self.mounts[mount], name, **more))).id

    async def token_of(self, entity_id: str, *policies: str, type_: str = "service") -> str:
        """A token as a login makes it."""
        now = self.clock.time()
        entry = TokenEntry(
            accessor="", policies=policies or ("default",), path="auth/one/login", creation_time=now,
            entity_id=entity_id, type=type_, creation_ttl=3600, expire_time=now + 3600, renewable=type_ == "service",
        )  # fmt: skip
        _, text = await self.node.store.run(lambda txn: self.node.tokens.create(txn, entry))
        return text

    async def capabilities(self, token: str, path: str) -> list[str]:
        return (await self.call("update", "sys/capabilities-self", {"paths": [path]}, token)).data[path]


@pytest.fixture
async def server() -> AsyncIterator[Identities]:
    made = await Identities().prepare()
    yield made
    await made.core.stop()

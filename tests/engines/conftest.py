"""Engines on a real store in memory, driven as the request pipeline drives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from caveau.framework.clock import FakeClock
from caveau.framework.engine import Context, Engine
from caveau.framework.jsontext import dumps, loads
from caveau.framework.messages import Request, Response
from caveau.storage.inmem import InmemStore
from caveau.storage.prefix import PrefixView
from caveau.storage.store import Store


class PlainText:
    """A barrier that hides nothing."""

    def encrypt_batch(self, writes):
        return dict(writes)

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        return ciphertext


@dataclass
class FakeClient:
    cubbyhole: str = "area"
    accessor: str = "accessor"
    display_name: str = "token"
    entity_id: str = ""
    policies: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """What a client would see of a response."""

    status: int
    data: Any = None
    warnings: list[str] = field(default_factory=list)
    lease_duration: int = 0
    body: bytes | None = None


class Mount:
    """One mounted engine. Verbs are operations; errors are raised, not rendered."""

    def __init__(self, factory: Callable[[Context], Engine], clock: FakeClock, **options: str) -> None:
        self.clock = clock
        self.factory = factory
        self.store = Store(InmemStore(), PlainText())
        self.client: FakeClient | None = FakeClient()
        self.engine = factory(Context(options=options, clock=clock))

    async def remount(self, factory: Callable[[Context], Engine], **options: str) -> None:
        """Another engine on the same storage, as after a change of the mount's options."""
        self.engine = factory(Context(options=options, clock=self.clock))
        await self.store.run(lambda txn: self.engine.setup(PrefixView(txn, "m/")))

    async def __call__(self, op: str, path: str, data: Any = None, /, **more: Any) -> Answer:
        body = {**(data or {}), **more}
        route, captures = self.engine.match(op, path)
        params, warnings = self.engine.load(route, captures, body)

        async def handle(view: Any) -> Any:
            req = Request(op, path, PrefixView(view, "m/"), body, client=self.client)
            return await getattr(self.engine, route.handler)(req, params)

        result = await (self.store.run(handle) if route.writes else handle(self.store))
        if not isinstance(result, Response):
            result = Response(data=result)
        empty = result.data is None and result.body is None and not (warnings or result.warnings)
        value = None if result.data is None else loads(dumps(result.data))
        return Answer(result.status or (204 if empty else 200), value, [*warnings, *result.warnings],
                      result.lease_duration, result.body)  # fmt: skip

    async def exists(self, path: str) -> bool:
        """Whether a write would need the update capability rather than create."""
        route, captures = self.engine.match("update", path)
        assert route.exists
        params, _ = self.engine.load(route, captures, {})
        req = Request("update", path, PrefixView(self.store, "m/"), client=self.client)
        return await getattr(self.engine, route.exists)(req, params)

    async def keys(self) -> list[str]:
        """Every key in storage, for tests of what remains there."""
        found, folders = [], ["m/"]
        while folders:
            folder = folders.pop()
            for name in await self.store.list(folder):
                (folders if name.endswith("/") else found).append(folder + name)
        return sorted(key.removeprefix("m/") for key in found)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mount(clock: FakeClock) -> Callable[..., Mount]:
    """``mount(factory, version="2")``: an engine mounted on a fresh store."""
    return lambda factory, **options: Mount(factory, clock, **options)

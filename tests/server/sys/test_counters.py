"""``sys/internal/counters`` and ``sys/internal/inspect``."""

from __future__ import annotations

import pytest
from caveau.framework.errors import NotFound, PermissionDenied, UnsupportedPath
from caveau.server.sys import counters
from caveau.tests.server.harness import Server


async def total(server, kind: str) -> int:
    (counted,) = (await server.call("read", f"sys/internal/counters/{kind}")).data["counters"].values()
    return counted["total"]


async def test_what_is_counted(server, monkeypatch):
    monkeypatch.setattr(counters, "_PAGE", 2)
    before = await total(server, "tokens")
    tokens = [await server.token(["default"]) for _ in range(4)]
    await server.token(["default"], type="batch")
    assert await total(server, "tokens") == before + 4
    await server.call("update", "auth/token/revoke", {"token": tokens[0]})
    assert await total(server, "tokens") == before + 3
    assert await total(server, "entities") == 0
    await server.call("update", "identity/entity", {"name": "e"})
    assert await total(server, "entities") == 1
    with pytest.raises(NotFound, match="removed"):
        await server.call("read", "sys/internal/counters/requests")


async def test_the_router_is_shown_where_that_is_enabled(server):
    with pytest.raises(UnsupportedPath):
        await server.call("read", "sys/internal/inspect/router/root")
    open_ = await Server(introspection_endpoint=True).start(("kv-v1",))
    found = {m["mount_path"]: m for m in (await open_.call("read", "sys/internal/inspect/router/root")).data["root"]}
    mount = open_.node.router.get("kv-v1/")
    assert found["kv-v1/"]["storage_prefix"] == mount.prefix
    assert found["token/"]["mount_type"] == "token"
    assert "storage_prefix" not in (await open_.call("read", "sys/internal/inspect/router/uuid")).data["uuid"][0]
    with pytest.raises(UnsupportedPath):
        await open_.call("read", "sys/internal/inspect/router/none")
    await open_.policy("p", 'path "sys/internal/inspect/*" { capabilities = ["read"] }')
    with pytest.raises(PermissionDenied):
        await open_.call("read", "sys/internal/inspect/router/root", token=await open_.token(["p"]))
    await open_.core.stop()


async def test_counters_are_each_namespaces_own(server):
    await server.call("update", "sys/namespaces/a", {})
    counted = (await server.call("read", "sys/internal/counters/tokens", namespace="a/")).data
    assert counted == {"counters": {"service_tokens": {"total": 0}}}

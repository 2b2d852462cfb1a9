"""Mounting, tuning, moving and unmounting, and what is left of it (nothing)."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from caveau.framework import Response
from caveau.framework.errors import InvalidRequest, NotFound, StoreError, UnsupportedOperation, UnsupportedPath
from caveau.server import node as node_module
from caveau.tests.server.harness import Server, SlowStore


async def mounts(server: Server) -> dict:
    return (await server.call("read", "sys/mounts")).data


def fields(response: Response) -> Any:
    return orjson.loads(orjson.dumps(response.data))


async def settled(server: Server) -> None:
    """Wait for what the node does in the background."""
    await asyncio.gather(*server.node._tasks)


async def test_mount_show_unmount(server):
    await server.call(
        "update", "sys/mounts/team/a", {"type": "kv", "description": "d", "config": {"default_lease_ttl": "1h"}}
    )
    shown = (await mounts(server))["team/a/"]
    assert (shown["type"], shown["description"], shown["config"]["default_lease_ttl"]) == ("kv", "d", 3600)
    assert shown["accessor"].startswith("kv_")
    await server.call("update", "team/a/x", {"v": 1})
    await server.call("delete", "sys/mounts/team/a")
    assert "team/a/" not in await mounts(server)
    with pytest.raises(UnsupportedPath):
        await server.call("read", "team/a/x")


@pytest.mark.parametrize("path", ["sys", "sys/x", "cubbyhole", "identity/x", "auth/x", "audit", "kv-v1", "kv-v1/x"])
async def test_paths_that_are_taken(server, path):
    with pytest.raises(InvalidRequest):
        await server.call("update", f"sys/mounts/{path}", {"type": "kv"})


async def test_a_mount_neither_covers_nor_nests(server):
    await server.call("update", "sys/mounts/a/b", {"type": "kv"})
    for path in ("a", "a/b", "a/b/c"):
        with pytest.raises(InvalidRequest, match="path is already in use at a/b/"):
            await server.call("update", f"sys/mounts/{path}", {"type": "kv"})
    await server.call("update", "sys/mounts/a/bc", {"type": "kv"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "none"},
        {"type": "system"},
        {"type": "cubbyhole"},
        {"type": "plugin"},
        {"type": "kv", "options": {"version": "3"}},
        {"type": "kv", "config": {"default_lease_ttl": "2h", "max_lease_ttl": "1h"}},
        {"type": "kv", "config": {"default_lease_ttl": "9999h"}},
        {"type": "kv", "config": {"listing_visibility": "x"}},
        {"type": "kv", "config": {"user_lockout_config": {"lockout_threshold": "x"}}},
    ],
)
async def test_what_is_refused_leaves_nothing(server, body):
    before = await server.keys_stored()
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/mounts/x", body)
    assert await server.keys_stored() == before


async def test_of_rivals_for_a_path_one_wins():
    server = await Server(SlowStore()).start()
    paths = ["r", "r/a", "r/a/b"] * 3
    done = await asyncio.gather(
        *(server.call("update", f"sys/mounts/{path}", {"type": "kv"}) for path in paths), return_exceptions=True
    )
    won = [path for path, result in zip(paths, done, strict=True) if not isinstance(result, Exception)]
    assert len(won) == 1
    assert all(isinstance(result, InvalidRequest) for result in done if isinstance(result, Exception))
    assert [path for path in await mounts(server) if path.startswith("r")] == [f"{won[0]}/"]
    await server.core.stop()


async def fill(server: Server, mount: str, count: int) -> str:
    """Secrets at several depths; gives the mount's folder in the store."""
    for number in range(count):
        await server.call("update", f"{mount}/{'d/' * (number % 4)}{number}", {"v": number})
    prefix = server.node.router.get(f"{mount}/").prefix
    assert len(await server.keys_stored(prefix)) >= count
    return prefix


async def test_unmounting_deletes_everything(server, monkeypatch):
    monkeypatch.setattr(node_module, "_PURGE_BATCH", 3)
    prefix = await fill(server, "kv-v1", 20)
    entry = server.node.router.get("kv-v1/").entry
    await server.call("delete", "sys/mounts/kv-v1")
    assert await server.keys_stored(prefix) == []
    assert f"namespaces/root/{entry.key}" not in await server.keys_stored()
    await server.call("update", "sys/mounts/kv-v1", {"type": "kv"})
    with pytest.raises(NotFound):
        await server.call("read", "kv-v1/0")


async def test_an_unmount_that_was_cut_off_ends_after_the_next_unseal(server, monkeypatch):
    monkeypatch.setattr(node_module, "_PURGE_BATCH", 3)
    prefix = await fill(server, "kv-v1", 20)
    commit, left = server.store.commit, iter(range(4))

    def failing(batch):
        if next(left, None) is None:
            raise StoreError("the disk is gone")
        return commit(batch)

    monkeypatch.setattr(server.store, "commit", failing)
    with pytest.raises(StoreError):
        await server.call("delete", "sys/mounts/kv-v1")
    monkeypatch.setattr(server.store, "commit", commit)
    assert 0 < len(await server.keys_stored(prefix)) < 20
    assert "kv-v1/" not in await mounts(server)
    with pytest.raises(InvalidRequest, match="already in use"):
        await server.call("update", "sys/mounts/kv-v1", {"type": "kv"})
    await server.seal()
    await server.unseal()
    await settled(server)
    assert await server.keys_stored(prefix) == []
    await server.call("update", "sys/mounts/kv-v1", {"type": "kv"})


async def test_unmounting_twice_at_once():
    server = await Server(SlowStore()).start(("kv-v1",))
    prefix = await fill(server, "kv-v1", 5)
    done = await asyncio.gather(*(server.call("delete", "sys/mounts/kv-v1") for _ in range(3)), return_exceptions=True)
    assert not all(isinstance(result, Exception) for result in done)
    assert all(isinstance(result, InvalidRequest) for result in done if isinstance(result, Exception))
    await settled(server)
    assert await server.keys_stored(prefix) == []
    await server.call("update", "sys/mounts/kv-v1", {"type": "kv"})
    await server.core.stop()


async def test_unmounting_what_is_not_there_or_must_stay(server):
    await server.call("delete", "sys/mounts/none")
    for path in ("sys/mounts/sys", "sys/mounts/cubbyhole", "sys/mounts/auth/token", "sys/auth/token"):
        with pytest.raises(InvalidRequest):
            await server.call("delete", path)
    with pytest.raises(UnsupportedOperation):
        await server.call("delete", "sys/mounts/kv-v1/tune")
    assert "kv-v1/" in await mounts(server)


async def test_an_engine_is_told_that_it_goes_away(server, monkeypatch):
    told = []
    for path in ("kv-v1", "kv-v2"):
        engine = server.node.router.get(f"{path}/").engine

        async def cleanup(path=path):
            told.append(path)
            raise RuntimeError("cannot say goodbye")

        monkeypatch.setattr(engine, "cleanup", cleanup)
    await server.call("delete", "sys/mounts/kv-v1")
    await server.call("update", "sys/plugins/reload/backend", {"mounts": ["kv-v2"]})
    await settled(server)
    assert told == ["kv-v1", "kv-v2"]


async def test_tuning_changes_what_is_given(server):
    tune = "sys/mounts/kv-v1/tune"
    await server.call("update", tune, {"default_lease_ttl": "1h", "max_lease_ttl": 7200, "description": "new"})
    await server.call("update", tune, {"listing_visibility": "unauth"})
    shown = (await server.call("read", tune)).data
    assert (shown["default_lease_ttl"], shown["max_lease_ttl"]) == (3600, 7200)
    assert (shown["description"], shown["listing_visibility"]) == ("new", "unauth")
    assert server.node.ttls("kv-v1/") == (3600, 7200)
    await server.call("update", tune, {"default_lease_ttl": "system", "max_lease_ttl": "system"})
    assert (await server.call("read", tune)).data["max_lease_ttl"] == 768 * 3600
    await server.seal()
    await server.unseal()
    assert (await server.call("read", tune)).data["description"] == "new"


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("sys/mounts/kv-v1", {"default_lease_ttl": "3h", "max_lease_ttl": "1h"}, "would be less than"),
        ("sys/mounts/kv-v1", {"max_lease_ttl": "-1h"}, "negative"),
        ("sys/mounts/kv-v1", {"token_type": "batch"}, "only be modified on auth mounts"),
        ("sys/mounts/kv-v1", {"plugin_version": "v1.0.0"}, "plugin not found in the catalog: kv, version=v1.0.0"),
        ("sys/mounts/kv-v1", {"user_lockout_config": {"lockout_threshold": 3}}, "not allowed"),
        ("sys/mounts/kv-v1", {"options": {"version": "7"}}, "invalid version provided: 7"),
        ("sys/mounts/kv-v2", {"options": {"version": "1"}}, "cannot downgrade"),
        ("sys/mounts/none", {}, 'tune of path "none/" failed: no mount entry found'),
        ("sys/mounts/sys", {"description": "x"}, "cannot tune parameter description of sys/"),
        ("sys/mounts/cubbyhole", {"max_lease_ttl": "1h"}, "cannot tune parameter max_lease_ttl of cubbyhole/"),
        ("sys/auth/token", {"token_type": "batch"}, "'token_type' cannot be set"),
        ("sys/auth/kv-v1", {"description": "x"}, "no mount entry found"),
    ],
)
async def test_tuning_that_is_refused(server, path, body, error):
    with pytest.raises(InvalidRequest, match=error):
        await server.call("update", f"{path}/tune", body)


async def test_auth_mounts_are_shown_and_tuned_through_sys_mounts_too(server):
    await server.call("update", "sys/mounts/auth/token/tune", {"description": "for all"})
    for path in ("sys/mounts/auth/token", "sys/auth/token"):
        assert (await server.call("read", path)).data["description"] == "for all"
    with pytest.raises(InvalidRequest, match="'token_type' cannot be set for 'token'"):
        await server.call("update", "sys/mounts/auth/token/tune", {"token_type": "batch"})
    for op in ("update", "delete"):
        with pytest.raises(InvalidRequest, match=r"cannot (un)?mount"):
            await server.call(op, "sys/mounts/auth/token", {"type": "kv"})


async def test_tunings_at_once_all_count():
    server = await Server(SlowStore()).start(("kv-v1",))
    changes = [{"description": "d"}, {"default_lease_ttl": "1h"}, {"max_lease_ttl": "2h"}, {"force_no_cache": True}]
    await asyncio.gather(*(server.call("update", "sys/mounts/kv-v1/tune", change) for change in changes))
    shown = (await server.call("read", "sys/mounts/kv-v1/tune")).data
    assert (shown["description"], shown["default_lease_ttl"], shown["max_lease_ttl"]) == ("d", 3600, 7200)
    assert shown["force_no_cache"] is True
    await server.core.stop()


async def test_moving_keeps_what_is_stored(server):
    await server.call("update", "kv-v1/a", {"x": "1"})
    uuid = (await mounts(server))["kv-v1/"]["uuid"]
    moved = await server.call("update", "sys/remount", {"from": "kv-v1", "to": "new/place"})
    status = await server.call("read", f"sys/remount/status/{moved.data['migration_id']}")
    assert status.data["migration_info"] == {
        "source_mount": "kv-v1/", "target_mount": "new/place/", "status": "success",
    }  # fmt: skip
    assert fields(await server.call("read", "new/place/a")) == {"x": "1"}
    with pytest.raises(UnsupportedPath):
        await server.call("read", "kv-v1/a")
    await server.seal()
    await server.unseal()
    assert (await mounts(server))["new/place/"]["uuid"] == uuid
    assert fields(await server.call("read", "new/place/a")) == {"x": "1"}


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("kv-v1", "", "must be specified"),
        ("none", "x", 'no matching mount at "none/"'),
        ("kv-v1", "kv-v1", 'path already in use at "kv-v1/"'),
        ("kv-v1", "kv-v2/x", 'path already in use at "kv-v2/"'),
        ("kv-v1", "sys/x", "cannot remount to destination sys/x/"),
        ("kv-v1", "auth/x", "cannot remount to destination auth/x/"),
        ("kv-v1", " x", "cannot contain trailing whitespace"),
        ("sys", "x", 'cannot remount "sys/"'),
        ("auth/token", "auth/x", 'cannot remount "auth/token/"'),
    ],
)
async def test_moves_that_are_refused(server, source, target, error):
    with pytest.raises(InvalidRequest, match=error):
        await server.call("update", "sys/remount", {"from": source, "to": target})


async def test_a_mount_whose_engine_is_gone_is_out_of_service_and_kept(server, monkeypatch, caplog):
    await server.call("update", "kv-v1/a", {"x": "1"})
    load = node_module.plugins.load

    def missing(kind, name):
        raise InvalidRequest(f"plugin not found in the catalog: {name}")

    await server.seal()
    monkeypatch.setattr(node_module.plugins, "load", missing)
    await server.unseal()
    assert "kv-v1/" not in await mounts(server)
    assert "out of service" in caplog.text
    await server.call("delete", "sys/mounts/kv-v2")
    await server.seal()
    monkeypatch.setattr(node_module.plugins, "load", load)
    await server.unseal()
    assert fields(await server.call("read", "kv-v1/a")) == {"x": "1"}
    assert "kv-v2/" not in await mounts(server)

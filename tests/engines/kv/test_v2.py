from __future__ import annotations

import pytest
from caveau.engines.kv import factory
from caveau.framework.clock import rfc3339
from caveau.framework.errors import InvalidRequest, NotFound, UnsupportedOperation

START = 1_750_000_000


@pytest.mark.parametrize("path", ["", "foo", "foo/bar", "dataa/x", "config/x"])
@pytest.mark.parametrize(
    ("op", "command"),
    [("read", "get"), ("list", "list"), ("scan", "scan"), ("update", "put"), ("patch", "patch"), ("delete", "delete")],
)
async def test_a_path_outside_the_api_is_explained(kv2, path, op, command):
    answer = await kv2(op, path, {} if op in ("list", "scan") else {"value": "x"})
    assert (answer.status, answer.data) == (404, None)
    [warning] = answer.warnings
    assert warning.startswith("Invalid path for a versioned K/V secrets engine.")
    assert f"kv {command}" in warning


@pytest.mark.parametrize("path", ["data", "metadata", "delete", "undelete", "destroy"])
@pytest.mark.parametrize("op", ["read", "update", "patch", "delete"])
async def test_the_roots_of_the_api_take_only_lists(kv2, path, op):
    answer = await kv2(op, path)
    assert answer.status == 404
    assert answer.warnings == ["Non-listing operations on the root of a K/V v2 mount are not supported."]


@pytest.mark.parametrize(
    ("op", "path"),
    [
        ("list", "data"),
        ("list", "data/"),
        ("list", "data/a"),
        ("scan", "data/"),
        ("read", "delete/a"),
        ("read", "undelete/a"),
        ("list", "destroy"),
        ("delete", "delete/a"),
        ("scan", "subkeys"),
        ("update", "subkeys/a"),
        ("read", "detailed-metadata/a"),
        ("update", "detailed-metadata/a"),
        ("delete", "config"),
        ("patch", "config"),
    ],
)
async def test_unsupported_operations(kv2, op, path):
    with pytest.raises(UnsupportedOperation):
        await kv2(op, path)


async def test_listing_config_is_outside_the_api(kv2):
    assert (await kv2("list", "config")).status == 404


# Upgrading from version 1


@pytest.fixture
async def upgraded(mount):
    """A mount with the version 1 secrets a, d/x and d/y, upgraded 10 seconds after START."""
    kv = mount(factory, version="1")
    for path in ("a", "d/x", "d/y"):
        await kv("update", path, at=path, ttl="1h", n=2**70)
    kv.clock.advance(10)
    await kv.remount(factory, version="2")
    return kv


def _data(path):
    return {"at": path, "n": 2**70, "ttl": "1h"}


async def test_upgraded_secrets_are_read_as_version_1(upgraded):
    only = {"created_time": rfc3339(START + 10), "deletion_time": "", "destroyed": False}
    for version in (0, 1):
        answer = await upgraded("read", "data/d/x", version=version)
        assert answer.data == {"data": _data("d/x"), "metadata": only | {"custom_metadata": None, "version": 1}}
    metadata = (await upgraded("read", "metadata/d/x")).data
    assert (metadata["current_version"], metadata["versions"]) == (1, {"1": only})
    assert (await upgraded("read", "subkeys/a")).data["subkeys"] == {"at": None, "n": None, "ttl": None}
    assert await upgraded.exists("data/a")
    with pytest.raises(NotFound):
        await upgraded("read", "data/a", version=2)


async def test_the_time_of_the_upgrade_stays(upgraded):
    upgraded.clock.advance(100)
    await upgraded.remount(factory, version="2")
    assert (await upgraded("read", "metadata/a")).data["created_time"] == rfc3339(START + 10)


async def test_upgraded_and_new_secrets_are_listed_together(upgraded):
    await upgraded("update", "data/a", data={})
    await upgraded("update", "data/b", data={})
    await upgraded("update", "data/d/z", data={})
    assert (await upgraded("list", "metadata")).data["keys"] == ["a", "b", "d/"]
    assert (await upgraded("list", "metadata", limit=1, after="a")).data["keys"] == ["b"]
    assert (await upgraded("list", "metadata/d", limit=2)).data["keys"] == ["x", "y"]
    assert (await upgraded("scan", "metadata")).data["keys"] == ["a", "b", "d/x", "d/y", "d/z"]
    info = (await upgraded("list", "detailed-metadata/d")).data["key_info"]
    assert {key: secret["current_version"] for key, secret in info.items()} == {"x": 1, "y": 1, "z": 1}


@pytest.mark.parametrize(
    ("op", "path", "body", "readable"),
    [
        ("update", "data/a", {"data": {"new": 1}}, True),
        ("patch", "data/a", {"data": {"new": 1}}, True),
        ("delete", "data/a", {}, False),
        ("update", "delete/a", {"versions": [1]}, False),
        ("update", "destroy/a", {"versions": [1]}, False),
        ("update", "metadata/a", {"max_versions": 3}, True),
        ("patch", "metadata/a", {"max_versions": 3}, True),
    ],
)
async def test_the_first_change_moves_an_upgraded_secret(upgraded, op, path, body, readable):
    await upgraded(op, path, body)
    assert [key for key in await upgraded.keys() if key.startswith("v1/")] == ["v1/d/x", "v1/d/y"]
    answer = await upgraded("read", "data/a", version=1)
    assert answer.data["data"] == (_data("a") if readable else None)
    assert answer.data["metadata"]["created_time"] == rfc3339(START + 10)


async def test_the_first_write_to_an_upgraded_secret_is_version_2(upgraded):
    with pytest.raises(InvalidRequest, match="did not match"):
        await upgraded("update", "data/a", data={}, options={"cas": 0})
    assert "v1/a" in await upgraded.keys()
    assert (await upgraded("update", "data/a", data={}, options={"cas": 1})).data["version"] == 2


async def test_an_upgraded_secret_pruned_away(upgraded):
    await upgraded("update", "config", max_versions=1)
    await upgraded("update", "data/a", data={})
    with pytest.raises(NotFound):
        await upgraded("read", "data/a", version=1)
    assert "versions/a/1" not in await upgraded.keys()


async def test_an_upgraded_secret_removed(upgraded):
    await upgraded("delete", "metadata/a")
    assert await upgraded.keys() == ["upgraded", "v1/d/x", "v1/d/y"]
    with pytest.raises(NotFound):
        await upgraded("read", "data/a")


async def test_a_mount_that_was_never_version_1_keeps_no_time_of_upgrade(kv2):
    await kv2.remount(factory, version="2")
    assert await kv2.keys() == []


async def test_a_secret_moved_while_it_is_read_is_found(upgraded):
    storage = _MovedMeanwhile(upgraded)
    secret = await upgraded.engine.find(storage, "a")
    assert secret.current_version == 1
    assert storage.moved


async def test_data_moved_while_it_is_read_is_found(upgraded):
    storage = _MovedMeanwhile(upgraded)
    assert b'"at":"a"' in await upgraded.engine.data(storage, "a", 1)
    assert storage.moved


class _MovedMeanwhile:
    """A view in which the secret ``a`` moves to version 2 right after the first look at it."""

    def __init__(self, mount):
        self._mount, self.moved = mount, False

    async def get(self, key):
        value = await self._mount.store.get("m/" + key)
        if not self.moved:
            self.moved = True
            await self._mount("update", "delete/a", versions=[99])
        return value

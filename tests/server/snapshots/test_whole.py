"""Saving and restoring the whole store, on every kind of store that can be copied."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from caveau.framework.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RequestTooLarge,
    Sealed,
    StoreError,
    UnsupportedPath,
)
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving

from .snapshotting import KINDS, left, members, on_disk, put, restore, save, sent, value


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with on_disk(request.param, tmp_path / "data") as server:
        yield server


async def test_it_goes_back_to_what_was_saved(server: Server, tmp_path: Path) -> None:
    await put(server, "app", "before")
    content = await save(server)
    await put(server, "app", "after")
    await put(server, "new", "after")
    await restore(server, content)
    assert await value(server, "app") == "before"
    with pytest.raises(NotFound):
        await value(server, "new")
    await put(server, "new", "again")
    assert await value(server, "new") == "again"
    assert not await left(tmp_path)


async def test_what_was_restored_is_there_after_a_seal(server: Server) -> None:
    await put(server, "app", "before")
    content = await save(server)
    await put(server, "app", "after")
    await restore(server, content)
    await server.seal()
    await server.unseal()
    assert await value(server, "app") == "before"


async def test_the_file_is_checked_by_other_programs(server: Server) -> None:
    await put(server, "app", "hunter2")
    content = await save(server)
    found = await members(content)
    assert list(found) == ["meta.json", "state.sqlite3", "SHA256SUMS", "SHA256SUMS.sealed"]
    for line in found["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(found[name]).hexdigest() == digest
    meta = orjson.loads(found["meta.json"])
    assert meta["version"] == 1
    assert meta["storage"] == server.core.storage_type
    assert meta["cluster_id"] == server.core.cluster["cluster_id"]
    assert meta["time"].endswith("Z")
    assert b"hunter2" not in b"".join(found.values())


async def test_damage_is_seen_before_anything_is_touched(server: Server, tmp_path: Path) -> None:
    await put(server, "app", "before")
    content = await save(server)
    await put(server, "app", "after")
    plain = bytearray(gzip.decompress(content))
    plain[20_000] ^= 1
    for broken in (b"", b"garbage", content[:-5000], gzip.compress(bytes(plain))):
        with pytest.raises(InvalidRequest):
            await restore(server, broken, force=True)
        assert await value(server, "app") == "after"
    assert not await left(tmp_path)


async def test_sums_that_someone_else_made_are_refused(server: Server) -> None:
    await put(server, "app", "before")
    found = await members(await save(server))
    found["state.sqlite3"] = b"x" * 5000
    meta = orjson.loads(found["meta.json"]) | {"state_size": 5000}
    found["meta.json"] = orjson.dumps(meta)
    found["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(found[name]).hexdigest()}  {name}\n" for name in ("meta.json", "state.sqlite3")
    ).encode()
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, data in found.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InvalidRequest, match="could not verify hash file"):
        await restore(server, target.getvalue())
    with pytest.raises(InvalidRequest, match="cannot be read"):
        await restore(server, target.getvalue(), force=True)
    assert await value(server, "app") == "before"


@pytest.mark.parametrize("to", KINDS)
async def test_another_cluster_takes_it_only_by_force_and_has_its_keys_then(
    server: Server, tmp_path: Path, to: str
) -> None:
    await put(server, "app", "theirs")
    content = await save(server)
    async with on_disk(to, tmp_path / "other") as other:
        with pytest.raises(InvalidRequest, match="possibly the snapshot is using a different set of unseal keys"):
            await restore(other, content)
        await restore(other, content, force=True)
        assert other.core.sealed
        with pytest.raises(InvalidRequest):
            await other.unseal()
        other.keys, other.root = server.keys, server.root
        await other.unseal()
        assert await value(other, "app") == "theirs"


@pytest.mark.parametrize("to", KINDS)
async def test_a_new_server_takes_it_from_anybody(server: Server, tmp_path: Path, to: str) -> None:
    await put(server, "app", "theirs")
    content = await save(server)
    async with on_disk(to, tmp_path / "other", start=False) as other:
        with pytest.raises(Sealed):
            await restore(other, content, token="")
        await restore(other, content, force=True, token="")
        other.keys, other.root = server.keys, server.root
        await other.unseal()
        assert await value(other, "app") == "theirs"
        with pytest.raises(PermissionDenied):
            await restore(other, content, force=True, token="")
        await other.seal()
        with pytest.raises(Sealed):
            await restore(other, content, force=True, token="")


async def test_a_restore_that_fails_leaves_the_server_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(server, "app", "before")
    content = await save(server)

    async def fail(path: str) -> int:
        raise StoreError("the disk is full")

    monkeypatch.setattr(server.store, "restore", fail)
    with pytest.raises(StoreError, match="the disk is full"):
        await restore(server, content)
    assert await value(server, "app") == "before"


async def test_writes_meanwhile_are_not_lost(server: Server) -> None:
    await put(server, "app", "before")
    saving = asyncio.create_task(save(server))
    for number in range(50):
        await put(server, f"n{number}", "x")
    content = await saving
    assert await value(server, "n49") == "x"
    await restore(server, content)
    assert await value(server, "app") == "before"


async def test_it_must_fit_on_the_disk(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = await save(server)
    monkeypatch.setattr("caveau.storage.snapshots.scratch.MARGIN", 1 << 60)
    with pytest.raises(RequestTooLarge, match="does not fit on the disk"):
        await restore(server, content)
    assert not await left(tmp_path)


async def test_a_store_in_memory_has_none() -> None:
    server = await Server().start()
    with pytest.raises(UnsupportedPath, match='storage "inmem" has no snapshots'):
        await save(server)
    with pytest.raises(UnsupportedPath, match='storage "inmem" has no snapshots'):
        await restore(server, b"")


async def test_over_http(server: Server) -> None:
    """In chunks there, and back as one body that is longer than the listener lets JSON be."""
    await put(server, "app", "before")
    async with serving(server, max_request_size=1000) as client:
        refused = await client.ask("GET", "/v1/sys/storage/raft/snapshot", token="wrong")
        assert refused.status == 403
        content = await save(server)
        await put(server, "app", "after")
        refused = await client.ask("POST", "/v1/sys/storage/raft/snapshot", content, token="wrong")
        assert refused.status == 403
        assert await value(server, "app") == "after"
        garbage = await client.ask("POST", "/v1/sys/storage/raft/snapshot", b"garbage")
        assert (garbage.status, "no snapshot" in garbage.errors[0]) == (400, True)
        done = await client.ask("POST", "/v1/sys/storage/raft/snapshot", content)
        assert done.status == 204
        assert await value(server, "app") == "before"


async def test_parts_that_arrive_are_put_together(server: Server) -> None:
    await put(server, "app", "before")
    content = await save(server)
    await put(server, "app", "after")
    await server.call("update", "sys/storage/raft/snapshot", content=sent(content, 1 << 20))
    assert await value(server, "app") == "before"


async def test_what_a_cluster_knows_of_its_nodes_stays(server: Server) -> None:
    store, barrier = server.store, server.core.seal.barrier
    old, new = "core/raft/node/old", "core/raft/node/new"
    await store.commit({old: barrier.encrypt(old, b"old")})
    content = await save(server)
    await server.call("update", "sys/rotate")  # with a key that the restored keyring has not
    await store.commit({old: None, new: barrier.encrypt(new, b"new")})
    await restore(server, content)
    assert await store.get(old) is None
    assert barrier.decrypt(new, await store.get(new)) == b"new"


async def test_a_restore_is_audited(server: Server, tmp_path: Path) -> None:
    """By the devices that were there before; afterwards those of the snapshot are."""
    content = await save(server)
    log = tmp_path / "audit.log"
    await server.call("update", "sys/audit/file", {"type": "file", "options": {"file_path": str(log)}})
    await restore(server, content)
    entries = [orjson.loads(line) for line in (await asyncio.to_thread(log.read_bytes)).splitlines()]
    assert [each["type"] for each in entries if each["request"]["path"] == "sys/storage/raft/snapshot"][:1] == [
        "request"
    ]
    assert (await server.call("read", "sys/audit")).data == {}


async def test_two_at_once_have_folders_of_their_own(server: Server) -> None:
    await put(server, "app", "x")
    contents = await asyncio.gather(*(save(server) for _ in range(5)))
    assert all([list(await members(content)) == list(await members(contents[0])) for content in contents])

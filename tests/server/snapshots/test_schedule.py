"""Snapshots that are taken by themselves: into a folder, into a bucket, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied, UnsupportedPath
from caveau.tests.server.harness import Server

from .bucket import KEY_ID, REGION, SECRET, serving_bucket
from .snapshotting import KINDS, left, on_disk, put, restore, value

PATH = "sys/storage/raft/snapshot-auto"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with on_disk("sqlite", tmp_path / "data") as server:
        yield server


async def configure(server: Server, name: str = "daily", **fields: Any) -> None:
    await server.call("update", f"{PATH}/config/{name}", fields)


def local(folder: Path, **fields: Any) -> dict[str, Any]:
    return {"interval": "1h", "storage_type": "local", "path_prefix": str(folder), **fields}


async def taken(server: Server) -> None:
    """Stop the task, which waits for a real clock, and take what is due by the test's."""
    schedules = server.core.schedules
    assert schedules._work is not None
    schedules._work.cancel()
    await asyncio.gather(schedules._work, return_exceptions=True)
    await schedules.take_due()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


async def status(server: Server, name: str = "daily") -> dict[str, Any]:
    answer = await server.call("read", f"{PATH}/status/{name}")
    found: dict[str, Any] = answer.data
    return found


async def files(folder: Path) -> list[str]:
    return await asyncio.to_thread(lambda: sorted(each.name for each in folder.iterdir()))


@pytest.mark.parametrize("kind", KINDS)
async def test_one_can_be_restored(kind: str, tmp_path: Path) -> None:
    async with on_disk(kind, tmp_path / "data") as server:
        await put(server, "app", "before")
        await configure(server, **local(tmp_path / "out"))
        await taken(server)
        (name,) = await files(tmp_path / "out")
        assert name == "vault-snapshot-20250615T150640Z.snap"
        file = tmp_path / "out" / name
        assert (await asyncio.to_thread(file.stat)).st_mode & 0o777 == 0o600
        assert not await left(tmp_path)
        await put(server, "app", "after")
        await restore(server, await asyncio.to_thread(file.read_bytes))
        assert await value(server, "app") == "before"


async def test_by_itself(server: Server, tmp_path: Path) -> None:
    """And again after a seal, which ends it."""
    await configure(server, **local(tmp_path / "out"))
    await until(lambda: server.core.schedules.statuses["daily"].ended)
    await server.seal()
    server.clock.advance(3600)
    await server.unseal()
    await until(lambda: server.core.schedules.statuses["daily"].ended == server.clock.time())
    assert await files(tmp_path / "out") == ["vault-snapshot-20250615T160640Z.snap"]


async def test_the_newest_stay(server: Server, tmp_path: Path) -> None:
    await configure(server, **local(tmp_path / "out", retain=2, file_prefix="a"))
    await taken(server)
    await asyncio.to_thread((tmp_path / "out" / "a-mine.snap").touch)
    for _ in range(3):
        server.clock.advance(3599)
        await taken(server)
        server.clock.advance(1)
        await taken(server)
    assert await files(tmp_path / "out") == [
        "a-20250615T170640Z.snap", "a-20250615T180640Z.snap", "a-mine.snap",
    ]  # fmt: skip


async def test_status_and_metrics(server: Server, tmp_path: Path) -> None:
    await configure(server, **local(tmp_path / "out"))
    await taken(server)
    now = "2025-06-15T15:06:40Z"
    assert await status(server) == {
        "consecutive_errors": 0,
        "last_snapshot_start": now,
        "last_snapshot_end": now,
        "last_snapshot_error": "",
        "last_snapshot_url": f"{tmp_path}/out/vault-snapshot-20250615T150640Z.snap",
        "last_good_snapshot": now,
        "next_snapshot_start": "2025-06-15T16:06:40Z",
        "snapshot_start": "",
        "snapshot_url": "",
    }
    gauges = {key.name: amount for key, amount in server.core.metrics.all_gauges() if key.name.startswith("snapshot.")}
    assert gauges == {"snapshot.auto.last_good": server.clock.time(), "snapshot.auto.consecutive_errors": 0}


async def test_a_failure_is_told_and_tried_again(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await configure(server, **local(out))
    await taken(server)
    await asyncio.to_thread(lambda: ([each.unlink() for each in out.iterdir()], out.rmdir(), out.write_text("")))
    server.clock.advance(3600)
    await taken(server)
    server.clock.advance(300)
    await taken(server)
    told = await status(server)
    assert told["consecutive_errors"] == 2
    assert "Not a directory" in told["last_snapshot_error"] or "File exists" in told["last_snapshot_error"]
    assert told["last_good_snapshot"] == "2025-06-15T15:06:40Z"
    await asyncio.to_thread(out.unlink)
    server.clock.advance(300)
    await taken(server)
    told = await status(server)
    assert (told["consecutive_errors"], told["last_snapshot_error"]) == (0, "")


async def test_damage_of_the_store_is_found(server: Server, tmp_path: Path) -> None:
    """One entry that does not decrypt any more: such a snapshot is none, and does not drive out a good one."""
    await put(server, "app", "x")
    await configure(server, **local(tmp_path / "out"))
    await taken(server)
    (key,) = [k for k in await server.keys_stored("namespaces/root/logical/") if "/versions/" in k or "app" in k][:1]
    entry = await server.store.get(key)
    await server.store.commit({key: entry[:-1] + bytes([entry[-1] ^ 1])})
    server.clock.advance(3600)
    await taken(server)
    assert "failed authentication" in (await status(server))["last_snapshot_error"]
    assert len(await files(tmp_path / "out")) == 1


async def test_no_more_space_than_allowed(server: Server, tmp_path: Path) -> None:
    await configure(server, **local(tmp_path / "out", local_max_space=100))
    await taken(server)
    assert "would be over local_max_space, 100" in (await status(server))["last_snapshot_error"]
    assert not await files(tmp_path / "out")


async def test_what_is_configured(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await server.call("list", f"{PATH}/config")
    await configure(server, **local(tmp_path / "out"))
    await configure(server, retain=5)
    assert (await server.call("list", f"{PATH}/config")).data == {"keys": ["daily"]}
    shown = {
        "interval": 3600,
        "retain": 5,
        "path_prefix": f"{tmp_path}/out",
        "file_prefix": "vault-snapshot",
        "storage_type": "local",
        "local_max_space": 0,
    }
    assert (await server.call("read", f"{PATH}/config/daily")).data == shown
    await server.seal()
    await server.unseal()
    assert (await server.call("read", f"{PATH}/config/daily")).data == shown
    await server.call("delete", f"{PATH}/config/daily")
    for path in ("config/daily", "status/daily"):
        with pytest.raises(NotFound):
            await server.call("read", f"{PATH}/{path}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interval": 59}, "interval is 60 seconds at least"),
        ({"retain": 0}, "retain is 1 to"),
        ({"storage_type": "azure-blob"}, "storage_type is local or aws-s3"),
        ({"path_prefix": "out"}, "absolute"),
        ({"path_prefix": "/a/../b"}, "without '..'"),
        ({"file_prefix": "../x"}, "file_prefix has"),
        ({"storage_type": "aws-s3"}, "aws_s3_bucket is missing"),
        ({"storage_type": "aws-s3", "aws_s3_bucket": "b-b", "aws_s3_region": "eu/1"}, "aws_s3_region is no name"),
        ({"storage_type": "aws-s3", "aws_s3_bucket": "b-b", "aws_s3_endpoint": "http://a/b?"}, "aws_s3_endpoint is"),
        ({"storage_type": "aws-s3", "aws_s3_bucket": "b-b"}, "are needed, here or in the environment"),
    ],
)
async def test_mistakes(server: Server, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await configure(server, **local(Path("/nowhere")) | fields)
    assert not server.core.schedules.all


async def test_sudo_is_needed(server: Server, tmp_path: Path) -> None:
    await server.policy("nosudo", 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }')
    token = await server.token(["nosudo"])
    with pytest.raises(PermissionDenied):
        await server.call("update", f"{PATH}/config/daily", local(tmp_path), token)


async def test_a_store_in_memory_has_no_schedule() -> None:
    server = await Server().start()
    with pytest.raises(UnsupportedPath, match="has no snapshots"):
        await configure(server, **local(Path("/nowhere")))


async def test_into_a_bucket(server: Server) -> None:
    async with serving_bucket() as bucket:
        fields = {
            "interval": "1h", "storage_type": "aws-s3", "path_prefix": "vault/a b/", "retain": 3,
            "aws_s3_bucket": "backups", "aws_s3_region": REGION, "aws_s3_endpoint": bucket.address,
            "aws_s3_disable_tls": True, "aws_s3_force_path_style": True, "aws_s3_server_side_encryption": True,
            "aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET,
        }  # fmt: skip
        await put(server, "app", "before")
        await configure(server, **fields)
        bucket.objects["vault/a b/vault-snapshot-other"] = b""
        for _ in range(5):
            await taken(server)
            server.clock.advance(3600)
        told = await status(server)
        assert told["last_snapshot_error"] == ""
        assert told["last_snapshot_url"] == "s3://backups/vault/a b/vault-snapshot-20250615T190640Z.snap"
        assert sorted(bucket.objects) == [
            "vault/a b/vault-snapshot-20250615T170640Z.snap",
            "vault/a b/vault-snapshot-20250615T180640Z.snap",
            "vault/a b/vault-snapshot-20250615T190640Z.snap",
            "vault/a b/vault-snapshot-other",
        ]
        assert bucket.headers["x-amz-server-side-encryption"] == "AES256"
        shown = (await server.call("read", f"{PATH}/config/daily")).data
        assert not set(shown) & {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
        await put(server, "app", "after")
        await restore(server, bucket.objects["vault/a b/vault-snapshot-20250615T190640Z.snap"])
        assert await value(server, "app") == "before"

        bucket.full = True
        await configure(server, **fields)
        await taken(server)
        assert "HTTP 507: XMinioStorageFull: Storage backend" in (await status(server))["last_snapshot_error"]
        await configure(server, aws_secret_access_key="wrong")
        await taken(server)
        told = await status(server)
        assert "HTTP 403: SignatureDoesNotMatch" in told["last_snapshot_error"]
        assert "wrong" not in told["last_snapshot_error"]

"""Servers on a disk, for what is done with snapshots of them."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.store import RaftStore
from caveau.storage.sqlite import SqliteStore
from caveau.tests.server.harness import Server

KINDS = ("sqlite", "raft")


@asynccontextmanager
async def on_disk(kind: str, path: Path, *, start: bool = True, **config: Any) -> AsyncIterator[Server]:
    """A server with KV v2 at ``kv-v2/``; not initialized unless it is to ``start``."""
    if kind == "raft":
        engine = Driver("a", path)
        await engine.bootstrap("127.0.0.1:8201")
        store: Any = RaftStore(engine)
    else:
        store = SqliteStore(path)
    await store.open()
    server = Server(store, **config)
    try:
        if start:
            await server.start(("kv-v2",))
        yield server
    finally:
        await server.core.stop()
        await store.close()


async def put(server: Server, name: str, value: str) -> None:
    await server.call("update", f"kv-v2/data/{name}", {"data": {"value": value}})


async def value(server: Server, name: str) -> str:
    answer = await server.call("read", f"kv-v2/data/{name}")
    found: str = orjson.loads(orjson.dumps(answer.data))["data"]["value"]
    return found


async def save(server: Server) -> bytes:
    answer = await server.call("read", "sys/storage/raft/snapshot")
    assert answer.stream is not None
    return b"".join([piece async for piece in answer.stream])


async def sent(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def restore(server: Server, content: bytes, *, force: bool = False, token: str | None = None) -> None:
    path = "sys/storage/raft/snapshot-force" if force else "sys/storage/raft/snapshot"
    await server.call("update", path, token=token, content=sent(content))


async def left(path: Path) -> list[Path]:
    """Files that work on snapshots has left behind."""
    return await asyncio.to_thread(lambda: [found for folder in path.rglob("*scratch") for found in folder.rglob("*")])


async def members(content: bytes) -> dict[str, bytes]:
    """What is in a snapshot, in order."""

    def read() -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}

    return await asyncio.to_thread(read)

"""``peers.json``: taken up at a start, once, and refused whole if it is not right."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from caveau.framework.errors import StoreError
from caveau.server.cluster import ClusterStore
from caveau.storage.raft.engine import Server

from .members import cluster, until

GOOD = [{"id": "a", "address": "127.0.0.1:8201", "non_voter": False}, {"id": "d", "address": "h:1", "non_voter": True}]


async def write(file: Path, content: Any) -> None:
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    await asyncio.to_thread(lambda: (file.parent.mkdir(exist_ok=True), file.write_bytes(raw)))


def again(folder: Path) -> ClusterStore:
    return ClusterStore.from_config({"path": str(folder / "a"), "node_id": "a"})


@pytest.mark.parametrize("where", ["peers.json", "raft/peers.json"])
async def test_one_of_three_goes_on_alone(tmp_path, where):
    async with cluster(tmp_path, "a", "b", "c") as (nodes, _):
        await nodes[0].cluster.write({"k": b"v"})
        applied = nodes[0].cluster.engine.status.applied
    await write(tmp_path / "a" / where, GOOD)
    store = await asyncio.to_thread(again, tmp_path)
    await store.open()
    try:
        await store.gate.unlock()
        await until(lambda: store.engine.leading)
        assert store.engine.status.configuration.servers == (
            Server("a", "127.0.0.1:8201"), Server("d", "h:1", voter=False),
        )  # fmt: skip
        assert store.engine.status.applied > applied
        await store.commit({"after": b"1"})
    finally:
        await store.close()
    assert not await asyncio.to_thread((tmp_path / "a" / where).exists)
    store = await asyncio.to_thread(again, tmp_path)
    await store.open()
    assert await store.get("after") == b"1"
    await store.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "unexpected end"),
        ({}, "not a list"),
        ([1], "not a list"),
        ([{"id": "../a", "address": "h:1"}], "an id"),
        ([{"id": "a"}], "an address"),
        ([{"id": "a", "address": "h:1", "non_voter": 1}], "non_voter, true or false"),
        ([{"id": "b", "address": "h:1"}], "this node, a, is not among the members"),
        ([{"id": "a", "address": "h:1"}] * 2, "the same id"),
        ([{"id": "a", "address": "h:1", "non_voter": True}], "needs a voter"),
    ],
)
async def test_what_is_not_right_changes_nothing(tmp_path, content, message):
    store = await asyncio.to_thread(again, tmp_path)
    await store.open()
    await store.bootstrap("127.0.0.1:8201")
    await store.close()
    file = tmp_path / "a" / "peers.json"
    await write(file, content)
    with pytest.raises(StoreError, match=message):
        await (await asyncio.to_thread(again, tmp_path)).open()
    await asyncio.to_thread(file.unlink)
    store = await asyncio.to_thread(again, tmp_path)
    await store.open()
    assert store.engine.status.configuration.servers == (Server("a", "127.0.0.1:8201"),)
    await store.close()

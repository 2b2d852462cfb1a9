from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from caveau.framework.errors import StoreError
from caveau.storage.raft import repair
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.engine import Server

from .cluster import cluster


async def test_one_that_is_left_goes_on_alone(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        for i in range(20):
            await three.nodes["a"].propose({f"k{i}": b"v"})
        await three.nodes["b"].read_index()
        with pytest.raises(StoreError, match="in use by another process"):
            await asyncio.to_thread(repair.inspect, tmp_path / "b")
        for name in "acb":
            await three.crash(name)
    before = await asyncio.to_thread(repair.inspect, tmp_path / "b")
    assert {server.id for server in before.members.servers} == set("abc")
    address = three.address("b")
    forced = await asyncio.to_thread(repair.force, tmp_path / "b", [Server("b", address)])
    assert (forced.term, forced.last) == (before.term, before.last)
    node = Driver("b", tmp_path / "b")
    await node.open()
    assert node.leading
    assert len(await node.table.list("")) == 20
    await node.propose({"after": b""})
    await node.close()


def test_what_cannot_be_repaired(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no node's directory"):
        repair.inspect(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="needs a voter"):
        repair.force(tmp_path, [Server("a", "b:1", voter=False)])

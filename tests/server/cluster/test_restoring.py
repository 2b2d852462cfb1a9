"""A snapshot that the leader restores is on all nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .members import cluster, until


async def test_the_others_follow(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as (nodes, _):
        leader = next(node for node in nodes if node.leads)
        large = {f"large/{number}": bytes(1 << 20) for number in range(9)}
        await leader.store.commit({"k": b"before", **large})
        await leader.store.snapshot(str(tmp_path / "state"))
        await leader.store.commit({"k": b"after", "large/0": None, "new": b"1"})
        index = await leader.store.restore(str(tmp_path / "state"))
        for node in nodes:
            await until(lambda node=node: node.cluster.engine.status.applied >= index)  # type: ignore[misc]
            assert await node.store.get("k") == b"before"
            assert await node.store.get("new") is None
            assert await node.store.get("large/0") == bytes(1 << 20)
        await leader.store.commit({"k": b"later"})
        await until(lambda: all(node.store.engine.table.get("k") == b"later" for node in nodes))
        await asyncio.to_thread((tmp_path / "state").unlink)

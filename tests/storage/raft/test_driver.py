"""A node with what disks do to it, and without the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from caveau.framework.errors import OutcomeUnknown, StoreError
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.engine import NotLeader, RaftEngine

from ..full_disk import file_size_limit
from .cluster import Events, cluster, until


@asynccontextmanager
async def opened(path: Path, new: bool = True) -> AsyncIterator[Driver]:
    node = Driver("a", path)
    if new:
        await node.bootstrap("127.0.0.1:8201")
    await node.open()
    try:
        yield node
    finally:
        await node.close()


async def test_a_full_disk_is_named_and_stops_the_node_which_then_starts_again(tmp_path: Path) -> None:
    events = Events()
    acknowledged = 0
    async with opened(tmp_path) as node:
        node.subscribe(events)
        with file_size_limit(4 << 20):
            for i in range(40):
                try:
                    await node.propose({f"k{i}": bytes(500_000)})
                except StoreError:
                    break
                acknowledged += 1
        with pytest.raises(StoreError, match=r"cannot be written|disk"):
            await node.propose({"late": b""})
        assert not node.leading
        assert node.status.failure
        assert events.seen[-1][0] == "failed"
    assert 0 < acknowledged < 40
    async with opened(tmp_path, new=False) as node:
        assert set(await node.table.list("")) >= {f"k{i}" for i in range(acknowledged)}
        await node.propose({"after": b""})


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.wal"))


async def test_a_flipped_bit_in_the_log_is_an_error_at_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await node.propose({"k": b"a value that is easy to find"})
        await node.propose({"k": b"another"})

    def flip() -> None:
        data = bytearray(segments(tmp_path)[-1].read_bytes())
        data[data.index(b"easy to find")] ^= 1
        segments(tmp_path)[-1].write_bytes(data)

    await asyncio.to_thread(flip)
    with pytest.raises(StoreError, match=r"0000000000000001\.wal of the log of the cluster is damaged"):
        await Driver("a", tmp_path).open()


async def test_a_log_that_is_gone_is_an_error_at_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await node.propose({"k": b""})
    await asyncio.to_thread(lambda: segments(tmp_path)[-1].unlink())
    with pytest.raises(StoreError, match="is empty, but entry 3 was applied"):
        await Driver("a", tmp_path).open()


async def test_a_state_that_is_gone_is_led_up_again_by_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await node.propose({"k": b"v"})

    def remove() -> None:
        for path in tmp_path.glob("state-*"):
            path.unlink()

    await asyncio.to_thread(remove)
    node = Driver("a", tmp_path)
    await node.bootstrap("127.0.0.1:8201")
    await node.open()
    assert node.table.get("k") == b"v"
    await node.close()


async def test_the_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caveau.storage.raft.replica.TAIL_BYTES", 1 << 20)
    async with opened(tmp_path) as node:
        for i in range(100):
            await node.propose({f"k{i % 7}": bytes(1 << 20)})
        await until(lambda: node.status.first > 80)
        await node.propose({"after": b""})
        await node.propose({"after": b""})
        assert len(await asyncio.to_thread(segments, tmp_path)) <= 3
    async with opened(tmp_path, new=False) as node:
        assert node.table.get("after") == b""


async def test_proposals_of_one_moment_are_one_entry(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        before = node.status.last
        indexes = await asyncio.gather(*(node.propose({"shared": bytes([i]), f"k{i}": b""}) for i in range(64)))
        assert set(indexes) == {before + 1}
        assert node.table.get("shared") == bytes([63])


async def test_what_is_too_long_is_refused_with_those_behind_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        waits = [node.propose({"k": bytes(61 << 20)}), node.propose({"behind": b""})]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert all(
            isinstance(result, StoreError) and "more than the cluster takes" in str(result) for result in results
        )
        await node.propose({"after": b""})
        assert await node.table.list("") == ["after"]


async def test_without_a_majority_the_outcome_is_unknown_and_reads_are_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = three.nodes["a"]
        await leader.propose({"k": b"v"})
        await three.crash("b")
        await three.crash("c")
        with pytest.raises(OutcomeUnknown, match="leadership was lost"):
            await leader.propose({"k": b"w"})
        with pytest.raises(NotLeader, match="none is known"):
            await leader.propose({"k": b"x"})
        with pytest.raises(NotLeader):
            await leader.read_index()
        assert not leader.leading


async def test_it_is_what_the_rest_takes_it_for(tmp_path: Path) -> None:
    engine: RaftEngine = Driver("a", tmp_path)
    with pytest.raises(StoreError, match="not open"):
        await engine.propose({})
    with pytest.raises(StoreError, match="not open"):
        engine.status  # noqa: B018
    with pytest.raises(ValueError, match="between 1 and 10"):
        Driver("a", tmp_path, multiplier=11)

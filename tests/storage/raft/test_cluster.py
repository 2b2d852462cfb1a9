"""Three nodes over real sockets, TLS and disks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from caveau.storage.raft.engine import MembershipRefused, NotLeader, Server
from caveau.storage.raft.store import RaftStore

from .cluster import cluster, until


async def test_writes_are_on_all_nodes_and_reads_are_current_everywhere(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        store = RaftStore(leader)
        for i in range(20):
            await store.commit({f"k{i}": b"%d" % i})
            for node in three.nodes.values():
                await node.read_index()
                assert node.table.get(f"k{i}") == b"%d" % i
        assert {server.id: server.voter for server in leader.status.configuration.servers} == dict.fromkeys("abc", True)
        assert [(peer.id, peer.connected) for peer in leader.status.peers] == [("b", True), ("c", True)]
        trace = leader.commits[-1]
        assert set(trace.followers) == {"b", "c"}
        assert 0 < trace.fsync < trace.total
        assert any(event[0] == "applied" and event[2] == {"k3"} for event in three.events["b"].seen)
        assert not any(event[0] == "applied" and event[2] for event in three.events["a"].seen)


async def test_only_the_leader_takes_writes_and_says_who_it_is(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b") as two:
        await until(lambda: two.nodes["b"].leader is not None)
        with pytest.raises(NotLeader, match=f"it is a at {two.address('a')}") as refused:
            await two.nodes["b"].propose({"k": b""})
        assert refused.value.leader == Server("a", two.address("a"))


async def test_a_leader_that_dies_is_replaced_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        acknowledged: set[str] = set()

        async def write(name: str) -> None:
            await leader.propose({name: b"v"})
            acknowledged.add(name)

        writes = [asyncio.create_task(write(f"k{i}")) for i in range(200)]
        await until(lambda: len(acknowledged) >= 50)
        await three.crash(leader.status.node)
        for task in writes:
            task.cancel()
        successor = await three.leader()
        await successor.propose({"after": b"v"})
        assert acknowledged <= set(await successor.table.list(""))
        back = await three.make("a")
        await back.open()
        await back.read_index()
        assert acknowledged | {"after"} <= set(await back.table.list(""))


async def test_leadership_is_handed_over_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.nodes["a"].transfer("c")
        await until(lambda: three.nodes["c"].leading)
        assert not three.nodes["a"].leading
        await three.nodes["c"].propose({"k": b"v"})
        with pytest.raises(MembershipRefused, match="not a voter that is connected"):
            await three.nodes["c"].transfer("nobody")


async def test_closing_hands_over(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        leaving = three.nodes.pop("a")
        await leaving.propose({"k": b"v"})
        await leaving.close()
        successor = await three.leader()
        assert successor.table.get("k") == b"v"


async def test_a_node_that_was_away_too_long_gets_the_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caveau.storage.raft.replica.TAIL_BYTES", 1 << 20)
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.crash("c")
        leader = await three.leader()
        for i in range(120):
            await leader.propose({f"k{i}": bytes(100_000)})
        await until(lambda: leader.status.first > 20)
        back = await three.make("c")
        await back.open()
        await until(lambda: any(event[::2] == ("applied", None) for event in three.events["c"].seen))
        await back.read_index()
        assert len(await back.table.list("")) == 120
        await leader.propose({"after": b""})
        await back.read_index()
        assert back.table.get("after") == b""
        await three.crash("c")  # and it starts again from what was installed
        back = await three.make("c")
        await back.open()
        await back.read_index()
        assert len(await back.table.list("")) == 121


async def test_members_come_as_non_voters_and_go(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one:
        leader = one.nodes["a"]
        await leader.propose({"k": b"v"})
        reader = await one.join("b", voter=False)
        await reader.read_index()
        assert reader.table.get("k") == b"v"
        assert leader.status.configuration.voters == (Server("a", one.address("a")),)
        with pytest.raises(MembershipRefused, match="is not a voter"):
            await leader.demote("b")
        with pytest.raises(MembershipRefused, match="let another node lead first"):
            await leader.remove("a")
        with pytest.raises(MembershipRefused, match="not a member"):
            await leader.promote("x")
        await leader.promote("b")
        await leader.demote("b")
        await leader.remove("b")
        assert [server.id for server in leader.status.configuration.servers] == ["a"]
        await leader.propose({"alone": b""})


async def test_a_snapshot_restored_is_the_state_of_all(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b") as two:
        leader = two.nodes["a"]
        await leader.propose({f"k{i}": b"v" for i in range(3000)})
        await leader.snapshot(str(tmp_path / "saved"))
        await leader.propose({"k0": None, "late": b"x"})
        await leader.restore(str(tmp_path / "saved"))
        for node in two.nodes.values():
            await node.read_index()
            assert len(await node.table.list("")) == 3000
            assert node.table.get("late") is None

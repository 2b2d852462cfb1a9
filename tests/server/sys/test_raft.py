"""What ``sys/`` says of a cluster: of one node here, and where the store is none."""

from __future__ import annotations

import time

import pytest
from caveau.framework.clock import FakeClock
from caveau.framework.errors import InvalidRequest, PermissionDenied, Sealed, UnsupportedPath
from caveau.server.cluster import Cluster, ClusterStore
from caveau.server.config import ListenerConfig, ServerConfig
from caveau.server.core import Core
from caveau.storage.seals.shamir import ShamirSeal
from caveau.tests.server.harness import Server


@pytest.fixture
async def raft(tmp_path):
    server = Server()
    server.clock = FakeClock(time.time())
    store = ClusterStore.from_config({"path": str(tmp_path / "data"), "node_id": "n1"})
    config = ServerConfig(
        listeners=(ListenerConfig(address="127.0.0.1:0", cluster_address="127.0.0.1:0"),), api_addr="http://127.0.0.1:1"
    )
    cluster = Cluster(store, config, server.clock)
    cluster.bind()
    await store.open()
    server.store = store
    server.core = Core(config, store, ShamirSeal(), clock=server.clock, raft=cluster)
    await server.start()
    yield server
    await server.core.stop()
    await store.close()
    await cluster.close()


async def test_one_node_is_a_cluster(raft):
    members = (await raft.call("read", "sys/storage/raft/configuration")).data["config"]["servers"]
    address = raft.core.raft.address
    assert members == [
        {"node_id": "n1", "address": address, "leader": True, "protocol_version": "3", "voter": True}
    ]  # fmt: skip
    leader = (await raft.call("read", "sys/leader", token="")).data
    assert leader["is_self"]
    assert (leader["leader_address"], leader["leader_cluster_address"]) == ("http://127.0.0.1:1", f"https://{address}")
    (node,) = (await raft.call("read", "sys/ha-status")).data["nodes"]
    assert (node["active_node"], node["last_echo"]) == (True, None)
    state = (await raft.call("read", "sys/storage/raft/autopilot/state")).data
    assert (state["healthy"], state["failure_tolerance"], state["voters"]) == (True, 0, ["n1"])
    await raft.call("update", "sys/step-down")
    await raft.call("update", "sys/storage/raft/remove-peer", {"server_id": "nobody"})
    with pytest.raises(InvalidRequest, match="leads"):
        await raft.call("update", "sys/storage/raft/remove-peer", {"server_id": "n1"})
    with pytest.raises(InvalidRequest, match="server_id must be provided"):
        await raft.call("update", "sys/storage/raft/promote", {})
    assert (await raft.call("update", "sys/storage/raft/join", {"leader_api_addr": "x"}, "")).data == {"joined": True}


async def test_the_last_commits_are_told_with_their_parts(raft):
    await raft.policy("p", 'path "a" { capabilities = ["read"] }')
    commits = (await raft.call("read", "sys/storage/raft/commits", {"limit": 1})).data["commits"]
    (commit,) = commits
    assert commit["total"] >= commit["fsync"] > 0
    assert len((await raft.call("read", "sys/storage/raft/commits")).data["commits"]) > 1


async def test_autopilot_is_configured_in_part(raft):
    path = "sys/storage/raft/autopilot/configuration"
    await raft.call("update", path, {"server_stabilization_time": "1m", "max_trailing_logs": 5})
    assert (await raft.call("read", path)).data == {
        "cleanup_dead_servers": False, "dead_server_last_contact_threshold": "24h0m0s", "last_contact_threshold": "10s",
        "max_trailing_logs": 5, "min_quorum": 0, "server_stabilization_time": "1m0s",
    }  # fmt: skip


async def test_who_may_change_members(raft):
    token = await raft.token(["default"])
    for path in ("remove-peer", "promote", "demote", "join-token", "autopilot/configuration"):
        with pytest.raises(PermissionDenied):
            await raft.call("update", f"sys/storage/raft/{path}", {"server_id": "n1"}, token)
    for ttl in ("0s", "8d"):
        with pytest.raises(InvalidRequest, match="seven days"):
            await raft.call("update", "sys/storage/raft/join-token", {"ttl": ttl})


async def test_a_sealed_node_tells_of_no_cluster(raft):
    await raft.seal()
    for path in ("sys/leader", "sys/storage/raft/configuration"):
        with pytest.raises(Sealed):
            await raft.call("read", path)
    await raft.unseal()


async def test_another_store_has_no_cluster(server):
    for op, path in (
        ("read", "configuration"), ("read", "commits"), ("read", "autopilot/state"), ("update", "join"),
        ("update", "bootstrap/challenge"), ("update", "join-token"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedPath):
            await server.call(op, f"sys/storage/raft/{path}")
    assert (await server.call("read", "sys/replication/status", token="")).data["dr"] == {"mode": "disabled"}

"""Which members autopilot promotes and removes, over an engine that says what the test wants."""

from __future__ import annotations

import orjson
import pytest
from caveau.framework.clock import FakeClock
from caveau.framework.errors import InvalidRequest
from caveau.server.cluster.admission import NODES
from caveau.server.cluster.autopilot import Autopilot, AutopilotSettings
from caveau.storage.raft.engine import Configuration, Peer, Role, Server, Status


class Engine:
    """``leading`` from the beginning, as ``a``."""

    leading = True

    def __init__(self, *servers: Server) -> None:
        self.servers = {"a": Server("a", "a:1")} | {server.id: server for server in servers}
        self.peers = {server.id: Peer(server.id, True, 100, 0.1) for server in servers}

    @property
    def status(self) -> Status:
        return Status(
            "a", Role.LEADER, 1, self.servers["a"], 1, 100, 100, 100,
            Configuration(tuple(self.servers.values()), 1), peers=tuple(self.peers.values()),
        )  # fmt: skip

    async def promote(self, node: str) -> None:
        self.servers[node] = Server(node, f"{node}:1")


class Cluster:
    def __init__(self, *servers: Server) -> None:
        self.engine = Engine(*servers)
        self.clock = FakeClock()
        self.stored: dict[str, bytes] = {}
        self.removed: list[str] = []
        self.autopilot = Autopilot(self)  # type: ignore[arg-type]

    async def read(self, key: str) -> bytes | None:
        return self.stored.get(key)

    async def write(self, entries: dict[str, bytes]) -> None:
        self.stored |= entries

    async def remove(self, node: str) -> None:
        self.removed.append(node)
        del self.engine.servers[node], self.engine.peers[node]

    @property
    def voters(self) -> set[str]:
        return {server.id for server in self.engine.servers.values() if server.voter}


async def test_a_non_voter_votes_after_it_has_been_well_without_a_break():
    cluster = Cluster(Server("b", "b:1", voter=False), Server("c", "c:1", voter=False))
    cluster.stored[NODES + "c"] = orjson.dumps({"non_voter": True})
    await cluster.autopilot.tick()
    cluster.clock.advance(9)
    cluster.engine.peers["b"] = Peer("b", True, 100, 11.0)
    await cluster.autopilot.tick()  # it was silent for too long
    cluster.engine.peers["b"] = Peer("b", True, 100, 0.1)
    await cluster.autopilot.tick()
    cluster.clock.advance(9)
    await cluster.autopilot.tick()
    assert cluster.voters == {"a"}
    cluster.clock.advance(1)
    await cluster.autopilot.tick()
    await cluster.autopilot.tick()
    assert cluster.voters == {"a", "b"}


@pytest.mark.parametrize("peer", [Peer("b", False, 100, 0.1), Peer("b", True, 100, 10.1), Peer("b", True, -901, 0.1)])
def test_who_is_not_there_or_lacks_much_is_not_well(peer):
    cluster = Cluster(Server("b", "b:1"))
    cluster.engine.peers["b"] = peer
    assert [each.healthy for each in cluster.autopilot.look(AutopilotSettings())] == [True, False]


async def test_nodes_that_are_gone_for_long_are_removed_while_enough_stay():
    cluster = Cluster(*(Server(name, f"{name}:1") for name in "bcde"))
    for name in "de":
        cluster.engine.peers[name] = Peer(name, False, 50, 90000.0)
    await cluster.autopilot.tick()
    assert cluster.removed == []  # it was not asked to
    await cluster.autopilot.configure({"cleanup_dead_servers": True, "min_quorum": 4})
    await cluster.autopilot.tick()
    assert cluster.removed == []  # it leads only since now, and has not waited for them
    cluster.clock.advance(86401)
    await cluster.autopilot.tick()
    await cluster.autopilot.tick()
    assert cluster.removed == ["d"]  # four are to stay


async def test_half_of_the_voters_is_not_removed_however_silent():
    cluster = Cluster(*(Server(name, f"{name}:1") for name in "bcd"))
    await cluster.autopilot.configure({"cleanup_dead_servers": True, "min_quorum": 3})
    for name in "cd":
        cluster.engine.peers[name] = Peer(name, False, 50, 90000.0)
    await cluster.autopilot.tick()
    cluster.clock.advance(86401)
    await cluster.autopilot.tick()
    assert cluster.removed == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cleanup_dead_servers": True, "min_quorum": 2}, "should at least be 3"),
        ({"cleanup_dead_servers": True, "min_quorum": 3, "dead_server_last_contact_threshold": 59.0}, "less than 1m"),
        ({"max_trailing_logs": -1}, "not below zero"),
    ],
)
async def test_settings_that_cannot_be(changes, problem):
    cluster = Cluster()
    with pytest.raises(InvalidRequest, match=problem):
        await cluster.autopilot.configure(changes)
    assert not cluster.stored

"""Three nodes over real sockets: they join, lead in turn, go, and change their certificates under load."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.cluster.admission import NODES, Answer
from caveau.server.cluster.settings import JoinTarget
from caveau.server.seal import initialize
from caveau.server.seal.unseal import WrongShares
from caveau.storage.raft.engine import MembershipRefused, NotLeader

from .members import Member, cluster, members, until


def voters(member: Member) -> list[str]:
    return [server.id for server in member.cluster.engine.status.configuration.voters]


def ids(member: Member) -> list[str]:
    return [server.id for server in member.cluster.engine.status.configuration.servers]


async def lead(*nodes: Member) -> Member:
    await until(lambda: any(node.leads for node in nodes))
    return max((node for node in nodes if node.leads), key=lambda node: node.cluster.engine.status.term)


async def test_a_node_joins_with_the_unseal_key_and_has_what_the_others_have(tmp_path):
    async with members(tmp_path, "a", "b") as (a, b):
        key = await a.initialize()
        await a.cluster.write({"some/key": b"value"})
        await b.join(a)
        status = await b.seal.status()
        assert (status["initialized"], status["sealed"], status["t"], status["n"]) == (True, True, 1, 1)
        assert ids(a) == ["a"]
        with pytest.raises(WrongShares, match="unable to retrieve stored keys"):
            await b.seal.unseal("ab" * 32)
        assert ids(a) == ["a"]
        await b.seal.unseal(key)
        await until(lambda: not b.seal.sealed)
        assert (ids(a), voters(a)) == (["a", "b"], ["a"])
        assert await b.cluster.read("some/key") == b"value"
        assert b.cluster.engine.leader.id == "a"
        await b.join(a)  # it is a member: nothing happens
        assert ids(a) == ["a", "b"]


async def test_a_join_token_is_good_for_one_node_and_a_time(tmp_path):
    async with members(tmp_path, "a", "b", "c") as (a, b, c):
        key = await a.initialize()
        token = await a.cluster.admission.make_token(60)
        late = await a.cluster.admission.make_token(60)
        await b.join(a, token=token)
        with pytest.raises(InvalidRequest, match=r"has joined a cluster|already initialized"):
            await initialize(b.seal, secret_shares=1, secret_threshold=1)
        await until(lambda: b.cluster.engine.status.applied >= a.cluster.engine.status.commit)
        assert b.seal.sealed  # it has everything, and nobody gave it a key
        await b.seal.unseal(key)
        assert not b.seal.sealed
        for used in (token, token[:-2] + "AA"):
            with pytest.raises(Exception, match=r"unknown, used, or too old|invalid answer"):
                await c.join(a, token=used)
        a.clock.advance(61)
        with pytest.raises(Exception, match="unknown, used, or too old"):
            await c.join(a, token=late)
        with pytest.raises(InvalidRequest, match="no join token"):
            await c.join(a, token="hvs.abc")
        assert ids(a) == ["a", "b"]


async def test_challenges_are_answered_once_in_time_and_by_whom_they_were_given(tmp_path):
    async with members(tmp_path, "a") as (a,):
        await a.initialize()
        admission = a.cluster.admission
        answer = Answer("b", "127.0.0.1:1", False, "", "", "")
        with pytest.raises(InvalidRequest, match="no expected answer"):
            await admission.admit(answer)
        for after, expected in ((0, "invalid answer"), (0, "no expected answer")):
            if expected == "invalid answer":
                await admission.challenge("b")
            a.clock.advance(after)
            with pytest.raises(InvalidRequest, match=expected):
                await admission.admit(answer)
        await admission.challenge("b")
        a.clock.advance(601)
        with pytest.raises(InvalidRequest, match="no expected answer"):
            await admission.admit(answer)
        for bad in ("", "a b", "x" * 65, "-"):
            with pytest.raises(InvalidRequest, match="server_id"):
                await admission.challenge(bad)


async def test_a_voter_that_lost_its_disk_does_not_come_back_as_if_nothing_was(tmp_path):
    async with cluster(tmp_path, "a", "b") as ((a, _), key):
        async with members(tmp_path / "again", "b") as (other,):
            await other.join(a)
            with pytest.raises(Exception, match="node b is a voter of this cluster"):
                await other.seal.unseal(key)
        assert voters(a) == ["a", "b"]


async def test_a_new_node_votes_once_it_has_been_well_for_a_time_unless_it_never_shall(tmp_path):
    async with members(tmp_path, "a", "b", "c") as (a, b, c):
        key = await a.initialize()
        await b.join(a, key)
        await c.join(a, key, non_voter=True)
        await until(lambda: all(peer.connected and peer.match == a.cluster.engine.status.last
                                for peer in a.cluster.engine.status.peers))  # fmt: skip
        await a.cluster.autopilot.tick()
        a.clock.advance(9)
        await a.cluster.autopilot.tick()
        assert voters(a) == ["a"]
        a.clock.advance(2)
        await a.cluster.autopilot.tick()
        await a.cluster.autopilot.tick()
        assert voters(a) == ["a", "b"]
        await a.cluster.demote("b")
        await a.cluster.autopilot.tick()
        assert voters(a) == ["a"]
        await a.cluster.promote("c")
        assert voters(a) == ["a", "c"]


async def test_leadership_goes_on_when_the_leader_steps_down_or_is_sealed(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as ((a, b, c), key):
        await a.cluster.step_down()
        second = await lead(b, c)
        assert not a.leads
        await second.cluster.write({"some/key": b"1"})
        with pytest.raises(NotLeader):
            await a.cluster.write({"some/key": b"2"})
        await second.seal.seal()
        third = await lead(*{a, b, c} - {second})
        await third.cluster.write({"some/key": b"3"})
        await second.seal.unseal(key)  # its own certificate, from what it has
        await until(lambda: second.cluster.engine.leader is not None)
        await until(lambda: second.cluster.engine.status.applied >= third.cluster.engine.status.commit)
        assert await second.cluster.read("some/key") == b"3"


async def test_a_removed_node_is_none_any_more(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as ((a, b, _), _):
        await a.cluster.remove("c")
        assert ids(a) == ["a", "b"]
        assert await a.cluster.read(NODES + "c") is None
        with pytest.raises(MembershipRefused, match="leads"):
            await a.cluster.remove("a")
        await until(lambda: ids(b) == ["a", "b"])
        await a.cluster.write({"some/key": b"1"})


async def test_certificates_are_renewed_and_connections_stay(tmp_path):
    async with cluster(tmp_path, "a", "b") as ((a, b), _):
        engine = a.cluster.engine
        old = a.cluster.identity.credentials
        await a.cluster.tend()
        assert a.cluster.identity.credentials is old
        links = {node: list(found) for node, found in a.store.transport._links.items()}
        for member in (a, b):
            member.clock.advance(17 * 3600)
            await member.cluster.tend()
        assert a.cluster.identity.credentials is not old
        assert a.cluster.identity.credentials.ends > old.ends
        await a.cluster.write({"some/key": b"1"})
        assert {node: list(found) for node, found in a.store.transport._links.items()} == links
        for found in links.values():  # and new ones use the new certificates
            for link in found:
                link.close()
        await until(lambda: set(a.store.transport._links.get("b", ())) - set(links["b"]))
        await until(lambda: all(peer.connected for peer in engine.status.peers))
        await a.cluster.write({"some/key": b"2"})


async def test_members_say_who_they_are_and_whom_they_take_for_the_leader(tmp_path):
    async with cluster(tmp_path, "a", "b") as ((a, b), _):
        for member in (a, b):
            for server in member.cluster.engine.status.configuration.servers:
                about = await member.cluster.ask(server)
                assert (about.id, about.cluster_addr) == (server.id, f"https://{server.address}")
                assert bool(about.active_since) == (server.id == "a")


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data.upper())


class Reader(asyncio.Protocol):
    def __init__(self):
        self.data = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.data.set_result(data)


async def test_a_node_that_follows_has_a_way_to_the_leader(tmp_path):
    async with cluster(tmp_path, "a", "b") as ((a, b), key):
        seen = []

        class Server(Echo):
            def connection_made(self, transport):
                super().connection_made(transport)
                seen.append(a.cluster.member(transport))

        a.cluster.forwarding(Server)
        await a.seal.seal()
        await a.seal.unseal(key)
        if await lead(a, b) is b:
            await b.cluster.step_down()
            await until(lambda: a.leads)
        await until(lambda: b.cluster.engine.leader is not None and b.cluster.engine.leader.id == "a")
        transport, reader = await b.cluster.connect_to_leader(Reader)
        transport.write(b"hello")
        assert await asyncio.wait_for(reader.data, 5) == b"HELLO"
        assert [server.id for server in seen] == ["b"]
        transport.abort()
        with pytest.raises(NotLeader):
            await a.cluster.connect_to_leader(Reader)


async def test_a_node_looks_for_its_cluster_until_there_is_one(tmp_path):
    async with members(tmp_path, "a", "b") as (a, b):
        b.cluster.joining.begin(JoinTarget(leader_api_addr=a.api), non_voter=False)
        await asyncio.sleep(0)
        key = await a.initialize()
        await until(lambda: b.seal.invitation is not None)
        await b.seal.unseal(key)
        await until(lambda: not b.seal.sealed)
        assert ids(a) == ["a", "b"]

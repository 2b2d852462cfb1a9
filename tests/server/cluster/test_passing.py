"""Requests that are passed on: whose they are, who is believed, and connections that break."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from caveau.framework.errors import Unavailable
from caveau.server.cluster.passing import Passing
from caveau.tests.server.cluster.fake import cluster


@pytest.fixture
async def two():
    async with cluster() as nodes:
        yield nodes


async def test_both_audit_logs_know_the_request(tmp_path):
    async with cluster() as two:
        active, standby = two.nodes
        await active.ask("POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(tmp_path / "log")}})
        await standby.ask("GET", "sys/mounts")  # by now it has the device too
        assert set(standby.core.audit.devices) == {"file/"}
        answer = await standby.ask("POST", "kv-v2/data/a", {"data": {"v": "1"}})
        await standby.core.audit.close()
        written = await asyncio.to_thread((tmp_path / "log").read_bytes)
        lines = [orjson.loads(line) for line in written.splitlines()]
        mine = [line for line in lines if line["request"]["id"] == answer.json["request_id"]]
        assert sorted(line["type"] for line in mine) == ["request", "request", "response"]
        assert {line["request"]["remote_address"] for line in mine} == {"127.0.0.1"}


async def test_the_client_is_who_asked_the_other_node(two):
    active, standby = two.nodes
    seen = []
    handle = active.core.handle

    async def spy(incoming):
        seen.append(incoming)
        return await handle(incoming)

    active.core.handle = spy
    host, port = standby.client.listener.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"data": {}}'
    writer.write(
        b"POST /v1/kv-v2/data/a?x=%%20y HTTP/1.1\r\nHost: h\r\nX-Vault-Token: %b\r\nX-Caveau-Client: 10.9.9.9 1\r\n"
        b"X-Caveau-Client-Certificate: MAAA\r\nX-Caveau-Request-Id: mine\r\nX-Own: here\r\nContent-Length: %d\r\n\r\n%b"
        % (standby.root.encode(), len(body), body)
    )
    assert b" 200 " in await reader.readline()
    (incoming,) = seen
    assert (incoming.remote_address, incoming.peer) == ("127.0.0.1", writer.get_extra_info("sockname"))
    assert incoming.peer_certificate is None
    assert incoming.id != "mine"
    assert incoming.headers["x-own"] == "here"
    assert not [name for name in incoming.headers if name.lower().startswith("x-caveau")]
    writer.close()


async def test_only_members_are_believed(two):
    active, standby = two.nodes
    active.link.members = False
    answer = await standby.ask("POST", "kv-v2/data/a", {"data": {}})
    assert answer.status == 403
    assert "only members" in answer.errors[0]


async def test_a_node_that_was_taken_for_the_active_one_says_so(two):
    active, standby = two.nodes
    two.log.leader = active.engine
    ports = standby.link._ports
    ports["a"].close()
    ports["a"] = ports["b"]  # the way to the active node leads back here
    answer = await standby.ask("POST", "kv-v2/data/a", {"data": {}})
    assert answer.status == 503
    assert "does not lead" in answer.errors[0]


async def test_a_connection_that_breaks_off(two):
    _, standby = two.nodes
    await standby.ask("POST", "kv-v2/data/a", {"data": {}})
    passing = standby.core.leadership._passing
    for connection in passing._idle:
        connection.writer.transport.abort()
    await asyncio.sleep(0)
    assert (await standby.ask("POST", "kv-v2/data/a", {"data": {}})).status == 200


class Broken:
    """A leader that takes a request and says ``answer``."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    async def connect_to_leader(self, protocol):
        accepted = asyncio.Event()

        async def serve(reader, writer):
            accepted.set()
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        made = await asyncio.get_running_loop().create_connection(protocol, *server.sockets[0].getsockname())
        await accepted.wait()
        server.close()
        return made


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"?\r\n\r\n"]
)
async def test_half_an_answer_is_none(two, answer):
    _, standby = two.nodes
    standby.core.leadership._passing = Passing(Broken(answer))
    told = await standby.ask("POST", "kv-v2/data/a", {"data": {}})
    assert told.status == 503
    assert "whether this was stored is not known" in told.errors[0]
    told = await standby.ask("GET", "kv-v2/data/a", x_vault_forward="active-node")
    assert told.status == 503
    assert "nothing was read" in told.errors[0]


async def test_answers_that_come_bit_by_bit(two):
    _, standby = two.nodes
    chunks = b"4\r\nabcd\r\n3\r\nefg\r\n"
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    for end, whole in ((b"0\r\n\r\n", True), (b"", False)):
        standby.core.leadership._passing = passing = Passing(Broken(head + chunks + end))
        host, port = standby.client.listener.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await reader.read()
        assert b"Content-Type: application/gzip\r\n" in answer
        assert (answer.partition(b"\r\n\r\n")[2] == chunks + b"0\r\n\r\n") == whole
        assert not passing._busy
        writer.close()


async def test_nobody_leads():
    class Nobody:
        async def connect_to_leader(self, protocol):
            raise ConnectionRefusedError

    with pytest.raises(Unavailable, match="no active node"):
        await Passing(Nobody())._connection()

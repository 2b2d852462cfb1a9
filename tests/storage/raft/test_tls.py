"""Who may speak, and what becomes of those who speak nonsense."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from caveau.storage.raft.engine import Server
from caveau.storage.raft.messages import LONGEST, Message, encode
from caveau.storage.raft.tls import ALPN, TlsTransport, name_of

from .certificates import Authority
from .cluster import free_port, until

HELLO = {"type": "timeout_now", "term": 1}


class Mailbox:
    def __init__(self) -> None:
        self.messages: list[tuple[str, Message]] = []
        self.there: set[str] = set()

    def received(self, node: str, message: Message) -> None:
        self.messages.append((node, message))

    def connected(self, node: str, is_there: bool) -> None:
        (self.there.add if is_there else self.there.discard)(node)


@pytest.fixture
async def authority(tmp_path: Path) -> Authority:
    return await asyncio.to_thread(Authority, tmp_path)


class Node:
    def __init__(self, transport: TlsTransport, port: int) -> None:
        self.transport, self.port, self.mail = transport, port, Mailbox()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


async def start(authority: Authority, name: str) -> Node:
    port = free_port()
    contexts = await asyncio.to_thread(authority.contexts, name)
    node = Node(TlsTransport(*contexts, ("127.0.0.1", port)), port)
    await node.transport.start(node.mail)
    return node


@pytest.fixture
async def node(authority: Authority) -> AsyncIterator[Node]:
    node = await start(authority, "a")
    yield node
    await node.transport.close()


async def test_messages_go_both_ways_though_only_one_knows_the_other(authority: Authority, node: Node) -> None:
    other = await start(authority, "b")
    other.transport.reach([Server("a", node.address)])
    await until(lambda: node.mail.there == {"b"} and other.mail.there == {"a"})
    other.transport.send("a", HELLO)
    node.transport.send("b", HELLO | {"term": 2})
    await until(lambda: bool(node.mail.messages and other.mail.messages))
    assert node.mail.messages == [("b", HELLO)]
    assert other.mail.messages == [("a", HELLO | {"term": 2})]
    await other.transport.close()
    await until(lambda: not node.mail.there)


async def test_a_node_is_dialled_again_until_it_is_there(authority: Authority, node: Node) -> None:
    other = await start(authority, "b")
    await other.transport.close()
    node.transport.reach([Server("b", other.address)])
    await asyncio.sleep(0.15)
    await other.transport.start(other.mail)
    await until(lambda: node.mail.there == {"b"})
    await other.transport.close()


async def test_another_node_at_the_address_is_not_taken_for_it(authority: Authority, node: Node) -> None:
    other = await start(authority, "c")
    node.transport.reach([Server("b", other.address)])
    await asyncio.sleep(0.3)
    assert not node.mail.there
    await other.transport.close()


async def speak(node: Node, context: ssl.SSLContext, data: bytes) -> bytes:
    context.check_hostname = False
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context, server_hostname="a")
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


async def test_whoever_is_not_of_the_cluster_is_refused(node: Node, elsewhere: Path) -> None:
    foreign = await asyncio.to_thread(Authority, elsewhere)
    client, _ = await asyncio.to_thread(foreign.contexts, "b")
    client.verify_mode = ssl.CERT_NONE
    client.set_alpn_protocols([ALPN])
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    bare.set_alpn_protocols([ALPN])
    for context in (client, bare):
        with suppress(ssl.SSLError, ConnectionError):
            assert await speak(node, context, b"") == b""
    assert not node.mail.there


@pytest.mark.parametrize(
    "data",
    [
        (LONGEST + 1).to_bytes(4, "big"),
        (3).to_bytes(4, "big") + b"abc",
        b"GET / HTTP/1.1\r\n\r\n" * 1000,
    ],
    ids=["too long", "no message", "another protocol"],
)
async def test_nonsense_ends_the_connection(authority: Authority, node: Node, data: bytes) -> None:
    client, _ = await asyncio.to_thread(authority.contexts, "b")
    client.set_alpn_protocols([ALPN])
    with suppress(ConnectionError):
        assert await speak(node, client, data) == b""
    assert not node.mail.messages
    await until(lambda: not node.mail.there)


async def test_a_message_in_pieces(authority: Authority, node: Node) -> None:
    client, _ = await asyncio.to_thread(authority.contexts, "b")
    client.set_alpn_protocols([ALPN])
    _, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=client, server_hostname="a")
    packed = encode(dict(HELLO))
    for byte in (len(packed).to_bytes(4, "big") + packed) * 2:
        writer.write(bytes([byte]))
        await writer.drain()
    await until(lambda: node.mail.messages == [("b", HELLO)] * 2)
    writer.close()


def test_contexts_that_would_take_anybody_are_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ValueError, match="must prove who they are"):
        TlsTransport(context, context)


def test_a_certificate_names_one_node() -> None:
    assert name_of({"subjectAltName": (("DNS", "node-1"), ("IP Address", "127.0.0.1"))}) == "node-1"
    for names in ((), (("DNS", "a"), ("DNS", "b"))):
        with pytest.raises(ValueError, match="one DNS name"):
            name_of({"subjectAltName": names})

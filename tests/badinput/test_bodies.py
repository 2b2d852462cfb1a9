"""Bodies over the limit are refused while they arrive, and numbers are kept exactly or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from ..peers import Server
from .cases import ONLY_CAVEAU, kv
from .wire import CLOSED, Peak, Request, exchange

MIB = 2**20
LIMIT = 32 * MIB
"""`max_request_size`, as it is by default."""
SOCKETS = 12 * MIB
"""What the kernel's buffers of both ends may hold when the server has stopped reading."""
BLOCK = 64 * 1024


def head(server: Server, framing: str) -> bytes:
    return (
        f"POST /v1/secret/data/large HTTP/1.1\r\nHost: {server.netloc}\r\nX-Vault-Token: {server.token}\r\n"
        f"Content-Type: application/json\r\n{framing}\r\n\r\n"
    ).encode()


def announced(server: Server, size: int) -> Iterator[bytes]:
    """A JSON body of `size` bytes under a Content-Length."""
    start, end = b'{"data": {"a": "', b'"}}'
    yield head(server, f"Content-Length: {size}") + start
    filler = size - len(start) - len(end)
    for _ in range(filler // BLOCK):
        yield b"a" * BLOCK
    yield b"a" * (filler % BLOCK) + end


def chunked(server: Server, size: int) -> Iterator[bytes]:
    """The same in chunks, so that the server learns the size only by reading."""
    yield head(server, "Transfer-Encoding: chunked")
    yield b'10\r\n{"data": {"a": "\r\n'
    for _ in range(size // BLOCK):
        yield b"%x\r\n" % BLOCK + b"a" * BLOCK + b"\r\n"
    yield b'3\r\n"}}\r\n0\r\n\r\n'


@pytest.mark.parametrize("framing", [announced, chunked])
def test_100_mb_are_refused_without_being_read(
    live: Server, framing: Callable[[Server, int], Iterator[bytes]], product: str
) -> None:
    with Peak(live.pid) as peak:
        answer = exchange(live, framing(live, 100 * MIB))
    assert answer.status in (413, CLOSED)  # a client that still sends may see the end before the answer
    assert answer.sent < LIMIT + SOCKETS
    if product == "caveau":
        assert peak.grown < 3 * LIMIT


@ONLY_CAVEAU
def test_an_announced_size_is_refused_before_the_body(live: Server) -> None:
    answer = exchange(live, [head(live, f"Content-Length: {100 * MIB}"), b"{"], timeout=5)
    assert answer.status == 413
    assert json.loads(answer.body)["errors"]


@ONLY_CAVEAU  # OpenBao turns whole numbers in KV version 2 into floats
@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64, 10**30, 12345678901234567890123])
def test_a_whole_number_is_kept_exactly_or_refused(live: Server, number: int) -> None:
    written = exchange(live, [kv(b'{"data": {"n": %d}}' % number).render(live)])
    if written.status == 200:
        read = exchange(live, [kv_read(live)])
        assert json.loads(read.body)["data"]["data"]["n"] == number
    else:
        assert written.status == 400


def kv_read(server: Server) -> bytes:
    return Request(target="/v1/secret/data/badinput").render(server)


def test_of_a_key_that_comes_twice_the_last_holds(live: Server) -> None:
    written = exchange(live, [kv(b'{"data": {"a": "first"}, "data": {"a": "1", "a": "last"}}').render(live)])
    if written.status == 200:
        assert json.loads(exchange(live, [kv_read(live)]).body)["data"]["data"] == {"a": "last"}
    else:
        assert written.status == 400

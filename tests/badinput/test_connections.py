"""Clients that misuse the connection itself: slow ones, ones that vanish, ones that send everything at once."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from ..peers import BAO_CONFIG, CAVEAU_CONFIG, Server, bao_server_sealed, caveau_server_sealed
from .cases import ONLY_CAVEAU
from .wire import CLOSED, connect, read_answer

HEADER_LIMIT_S, READ_LIMIT_S, IDLE_LIMIT_S = 1, 2, 2
CUT_SHORT = {"caveau": (CLOSED, 400, 408), "bao": (500,)}
"""The answers to a body that never ends."""
PATIENCE_S = 5
"""When a limit has certainly passed, on a busy machine too."""

LIMITS = f"""  http_read_header_timeout = "{HEADER_LIMIT_S}s"
  http_read_timeout = "{READ_LIMIT_S}s"
  http_idle_timeout = "{IDLE_LIMIT_S}s"
"""
HEALTH = b"GET /v1/sys/seal-status HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(product: str) -> Iterator[Server]:
    """A server (never initialised) whose listener gives up soon."""
    start, config = {"caveau": (caveau_server_sealed, CAVEAU_CONFIG), "bao": (bao_server_sealed, BAO_CONFIG)}[product]
    with start(config.replace("  tls_disable = true\n", "  tls_disable = true\n" + LIMITS)) as server:
        yield server


def answers(server: Server) -> bool:
    with connect(server, timeout=5) as connection:
        connection.sendall(HEALTH)
        return read_answer(connection).status == 200


def drip(connection: socket.socket, first: bytes) -> float:
    """Send `first`, then one byte every 50 ms; seconds until the server answered or closed."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        connection.sendall(first)
        while time.monotonic() - began < PATIENCE_S + 1:
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b"x")
    return time.monotonic() - began


@pytest.mark.slow
def test_headers_that_drip_are_cut_off(impatient: Server) -> None:
    with connect(impatient) as connection:
        waited = drip(connection, b"GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert HEADER_LIMIT_S / 2 < waited < PATIENCE_S
        assert read_answer(connection).status in (CLOSED, 400, 408)


@pytest.mark.slow
def test_a_body_that_drips_is_cut_off(impatient: Server, product: str) -> None:
    with connect(impatient) as connection:
        waited = drip(connection, b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        assert READ_LIMIT_S / 2 < waited < PATIENCE_S
        assert read_answer(connection).status in CUT_SHORT[product]


@pytest.mark.slow
def test_a_client_that_sends_nothing_is_cut_off(impatient: Server) -> None:
    with connect(impatient, timeout=PATIENCE_S) as connection:
        assert connection.recv(1) == b""


@pytest.mark.slow
def test_a_connection_that_stays_idle_after_a_request_is_closed(impatient: Server) -> None:
    with connect(impatient, timeout=PATIENCE_S) as connection:
        connection.sendall(HEALTH)
        assert read_answer(connection).status == 200
        assert connection.recv(1) == b""


@pytest.mark.slow
def test_many_slow_clients_keep_nobody_else_out(impatient: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(impatient)) for _ in range(300)]
        for connection in slow:
            connection.sendall(b"GET /v1/sys/health HTTP/1.1\r\nX-Slow: ")
        began = time.monotonic()
        assert answers(impatient)
        assert time.monotonic() - began < 2
    assert answers(impatient)


def test_a_reset_in_the_middle_of_a_body_is_nobodys_problem(live: Server) -> None:
    for _ in range(50):
        with connect(live) as connection:
            connection.sendall(
                b"POST /v1/secret/data/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n"
                b'Content-Length: 1000\r\n\r\n{"data": {"a": "'
            )
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
    assert answers(live)


def test_a_client_that_leaves_before_the_answer(live: Server) -> None:
    for _ in range(50):
        with connect(live) as connection:
            connection.sendall(HEALTH)
    assert answers(live)


def test_half_a_body_and_then_the_end(live: Server, product: str) -> None:
    with connect(live) as connection:
        connection.sendall(
            b"POST /v1/secret/data/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n"
            b'Content-Length: 1000\r\n\r\n{"data": {"a": "'
        )
        connection.shutdown(socket.SHUT_WR)
        assert read_answer(connection).status in CUT_SHORT[product]


def test_requests_in_a_row_are_answered_in_a_row(live: Server) -> None:
    count = 500
    with connect(live) as connection:
        connection.sendall(HEALTH * count)
        received = b""
        while received.count(b"HTTP/1.1 200 ") < count or not received.endswith(b"\n"):
            piece = connection.recv(2**16)
            assert piece
            received += piece
    assert received.count(b"HTTP/1.1 ") == count


def test_garbage_after_a_request_is_refused_and_ends_the_connection(live: Server) -> None:
    with connect(live, timeout=10) as connection:
        connection.sendall(HEALTH + b"\x00\x01 garbage \xff\r\n\r\n" + HEALTH)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**16):
                received += piece
    assert received.count(b"HTTP/1.1 200 ") <= 1
    assert b"HTTP/1.1 5" not in received


@ONLY_CAVEAU  # Go lets the chunks win, as the RFC permits, and goes on with the connection
def test_a_hidden_second_request_is_not_served(live: Server) -> None:
    """Request smuggling: the two framings disagree about where the first request ends (RFC 9112 section 6.3)."""
    hidden = b"GET /v1/secret/smuggled HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n\r\n"
    with connect(live, timeout=10) as connection:
        connection.sendall(
            b"POST /v1/sys/seal-status HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(hidden)) + hidden
        )
        connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**16):
                received += piece
    assert received.count(b"HTTP/1.1 ") <= 1

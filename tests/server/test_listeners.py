"""Listeners on real sockets: TLS, reload, unix sockets, slow and malformed clients, stopping."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import inspect
import json
import logging
import os
import re
import socket
import ssl
import stat

import aiohttp
import pytest
import uvloop
from caveau.server.answer import Answer
from caveau.server.config import ConfigError, ListenerConfig
from caveau.server.http_request import HttpRequest
from caveau.server.listeners import Listener
from cryptography import x509
from cryptography.x509.oid import NameOID

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


async def hello(request: HttpRequest) -> Answer:
    return Answer(200, b"hello " + await request.content.read())


def both_loops(test):
    """Run an async test on uvloop, which serves, and on asyncio's loop, for platforms without it."""

    @functools.wraps(test)
    def run(loop_factory, **fixtures):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**fixtures))

    own = inspect.signature(test)
    loop = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), loop])
    return pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])(run)


async def bind(config: ListenerConfig) -> Listener:
    listener = Listener(config)
    await asyncio.to_thread(listener.bind)
    return listener


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(config: ListenerConfig, handler=hello):
    listener = await bind(config)
    await listener.serve(handler)
    try:
        yield listener
    finally:
        await listener.stop(1)


def plain(**options) -> ListenerConfig:
    return ListenerConfig(address="127.0.0.1:0", tls_disable=True, **options)


@pytest.fixture
def ann(authority):
    return authority.issue("ann")


@pytest.fixture
def eve(other_authority):
    return other_authority.issue("eve")


@pytest.fixture
def server_pair(authority):
    return authority.issue("server")


@pytest.fixture
def tls(server_pair):
    """The configuration of a TLS listener."""
    files = {"tls_cert_file": str(server_pair.cert), "tls_key_file": str(server_pair.key)}
    return functools.partial(ListenerConfig, address="127.0.0.1:0", origin="f:1", **files)


def client_context(authority, pair=None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.pem))
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def dial(listener: Listener, context: ssl.SSLContext | None = None):
    host, port = listener.address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port), ssl=context)


async def exchange(listener: Listener, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """What the server answers to ``data`` until it closes the connection."""
    reader, writer = await dial(listener, context)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(listener: Listener, context: ssl.SSLContext | None = None) -> bytes:
    return await exchange(listener, b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", context)


def peer_serial(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("peercert")["serialNumber"], 16)


@both_loops
async def test_port_zero_reports_the_real_address():
    async with serving(plain()) as listener:
        assert not listener.url.endswith(":0")
        async with aiohttp.ClientSession() as session, session.post(listener.url + "/v1/x", data=b"you") as response:
            assert (response.status, await response.read()) == (200, b"hello you")
            assert response.headers["Server"] == "Caveau"


@both_loops
async def test_bodies_are_not_decompressed():
    """A small body cannot become a big one in memory."""
    packed = gzip.compress(b"x" * 100_000)
    async with serving(plain()) as listener:
        head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        head += f"Content-Length: {len(packed)}\r\n\r\n"
        answer = await exchange(listener, head.encode() + packed)
    assert answer.endswith(b"hello " + packed)


@both_loops
async def test_ipv6_and_every_address():
    async with serving(ListenerConfig(address=":0", tls_disable=True)) as listener:
        port = int(listener.address.rsplit(":", 1)[1])
        for host in ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(GET)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()


@both_loops
async def test_address_in_use_says_so():
    async with serving(plain()) as listener:
        taken = ListenerConfig(address=listener.address, tls_disable=True, origin="server.hcl:3")
        message = await asyncio.to_thread(bound, taken)
        assert message.startswith("server.hcl:3: cannot listen on ")
        assert "another program listens there" in message


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
    ],
)
@both_loops
async def test_malformed_requests_get_json_and_no_traceback(data, caplog):
    with caplog.at_level(logging.DEBUG):
        async with serving(plain()) as listener:
            answer = await exchange(listener, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", head)
    assert b"Server: Caveau" in head
    assert b"application/json" in head
    assert json.loads(body)["errors"] in ([], ["malformed HTTP request"])
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


@both_loops
async def test_long_headers_are_refused():
    async with serving(plain()) as listener:
        answer = await exchange(listener, b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n")
        assert b" 431 " in answer.splitlines()[0]
        long_token = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Vault-Token: " + b"a" * 30_000 + b"\r\n\r\n"
        assert b" 200 " in (await exchange(listener, long_token)).splitlines()[0]


@both_loops
async def test_a_handler_that_fails_answers_500_in_json(caplog):
    async def broken(_request):
        raise RuntimeError("secret detail")

    async with serving(plain(), broken) as listener:
        answer = await ask(listener)
    assert b" 500 " in answer.splitlines()[0]
    assert answer.endswith(b'{"errors":["internal error"]}\n')
    assert b"secret detail" not in answer
    assert "a request was not handled" in caplog.text


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n"])
@both_loops
async def test_slow_headers_are_cut_off(data):
    async with serving(plain(http_read_header_timeout=0.1, http_read_timeout=60)) as listener:
        assert await exchange(listener, data) == b""


@both_loops
async def test_dripping_headers_do_not_buy_time():
    async with serving(plain(http_read_header_timeout=0.15, http_read_timeout=60)) as listener:
        reader, writer = await dial(listener)
        ended = asyncio.create_task(reader.read())
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            while not ended.done():
                writer.write(b"X-A: 1\r\n")
                await asyncio.wait([ended], timeout=0.02)
        with contextlib.suppress(ConnectionError):  # what was still on its way when it closed
            assert await ended == b""
        writer.close()


@both_loops
async def test_slow_headers_of_a_second_request_are_cut_off():
    async with serving(plain(http_read_header_timeout=0.1, http_read_timeout=60)) as listener:
        reader, writer = await dial(listener)
        writer.write(GET)
        assert (await reader.readuntil(b"hello ")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HT")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


POST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("first", [[GET], [POST], [GET + POST], [POST[:-2], POST[-2:]], [CHUNKED], [POST + CHUNKED]])
@both_loops
async def test_slow_headers_that_begin_in_the_packet_of_another_request_are_cut_off(first):
    async with serving(plain(http_read_header_timeout=0.1, http_read_timeout=60, http_idle_timeout=60)) as listener:
        reader, writer = await dial(listener)
        first = [*first[:-1], first[-1] + b"GET / HT"]
        for packet in first:
            writer.write(packet)
            await asyncio.sleep(0.02)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.count(b"HTTP/1.1 200") == b"".join(first).count(b"Host")
        writer.close()


@pytest.mark.parametrize(
    "packets",
    [[GET], [GET + GET], [POST], [POST + POST], [POST + GET], [POST[:-2], POST[-2:]], [POST[:9], POST[9:]], [CHUNKED],
     [CHUNKED[:-1], CHUNKED[-1:]], [CHUNKED[:-9], CHUNKED[-9:]], [GET + CHUNKED], [CHUNKED + POST], [GET * 40]],
)  # fmt: skip
@both_loops
async def test_connections_that_wait_after_whole_requests_are_not_cut_off(packets):
    async with serving(plain(http_read_header_timeout=0.05, http_read_timeout=60)) as listener:
        reader, writer = await dial(listener)
        for packet in packets:
            writer.write(packet)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
        writer.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.count(b"HTTP/1.1 200") == b"".join(packets).count(b"Host") + 1
        writer.close()


@both_loops
async def test_slow_bodies_are_cut_off():
    async with serving(plain(http_read_header_timeout=60, http_read_timeout=0.1)) as listener:
        assert await exchange(listener, b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc") == b""


@both_loops
async def test_a_slow_handler_is_not_cut_off():
    release = asyncio.Event()

    async def slow(request):
        await release.wait()
        return await hello(request)

    config = plain(http_read_header_timeout=0.05, http_read_timeout=0.05)
    async with serving(config, slow) as listener:
        reader, writer = await dial(listener)
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        release.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


@both_loops
async def test_idle_connections_are_closed():
    async with serving(plain(http_idle_timeout=0.1)) as listener:
        assert (await exchange(listener, GET)).startswith(b"HTTP/1.1 200")


@both_loops
async def test_clients_that_do_not_read_are_cut_off():
    async def big(_request):
        return Answer(200, b"x" * (64 << 20))

    async with serving(plain(http_write_timeout=0.1), big) as listener:
        host, port = listener.address.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, (host, int(port)))
            await loop.sock_sendall(client, GET)
            server = listener._server
            await until(lambda: server.connections)
            await until(lambda: not server.connections)


@both_loops
async def test_connection_limit(caplog):
    async with serving(plain(max_connections=1)) as listener:
        _, first = await dial(listener)
        first.write(GET)
        assert await exchange(listener, GET) == b""
        assert "connection refused" in caplog.text
        first.close()
        await first.wait_closed()
        await until(lambda: not listener._server.connections)
        assert (await ask(listener)).startswith(b"HTTP/1.1 200")


@both_loops
async def test_connection_limit_of_tls(authority, tls, caplog):
    context = client_context(authority)
    async with serving(tls(max_connections=1)) as listener:
        _, first = await dial(listener, context)
        with pytest.raises(OSError):  # noqa: PT011 - closed or reset, before any handshake
            await dial(listener, context)
        assert "connection refused" in caplog.text
        first.close()
        with contextlib.suppress(OSError):
            await first.wait_closed()
        await until(lambda: not listener._server.connections)
        assert (await ask(listener, context)).startswith(b"HTTP/1.1 200")


@both_loops
async def test_stop_finishes_requests_in_progress():
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(request):
        started.set()
        await release.wait()
        return await hello(request)

    listener = await bind(plain())
    await listener.serve(slow)
    answer = asyncio.create_task(exchange(listener, GET))
    idle_reader, idle = await dial(listener)
    await started.wait()
    stopping = asyncio.create_task(listener.stop(5))
    assert await asyncio.wait_for(idle_reader.read(), 2) == b""  # idle ones go at once
    assert not stopping.done()
    release.set()
    assert (await answer).startswith(b"HTTP/1.1 200")
    await stopping
    idle.close()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await dial(listener)


@both_loops
async def test_stop_is_bounded():
    async def stuck(_request):
        await asyncio.Event().wait()

    listener = await bind(plain())
    await listener.serve(stuck)
    answer = asyncio.create_task(exchange(listener, GET))
    await until(lambda: listener._server.requests_count)
    await asyncio.wait_for(listener.stop(0.05), 5)
    assert await answer == b""


# TLS


@both_loops
async def test_tls_speaks_http_1_1_from_tls_1_2_up(authority, tls):
    async with serving(tls()) as listener:
        assert listener.url.startswith("https://")
        context = client_context(authority)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await dial(listener, context)
        connection = writer.get_extra_info("ssl_object")
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        writer.close()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await ask(listener, context)).startswith(b"HTTP/1.1 200")


@both_loops
async def test_tls_minimum_version(authority, tls):
    async with serving(tls(tls_min_version="tls13")) as listener:
        context = client_context(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(listener, context)


@both_loops
async def test_tls_cipher_suites(authority, tls):
    suites = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
    async with serving(tls(tls_max_version="tls12", tls_cipher_suites=suites)) as listener:
        _, writer = await dial(listener, client_context(authority))
        assert writer.get_extra_info("cipher")[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        writer.close()
        context = client_context(authority)
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(listener, context)


@both_loops
async def test_plain_http_to_a_tls_listener_is_told(authority, tls):
    async with serving(tls()) as listener:
        answer = await exchange(listener, GET + b"x" * 2000)
        assert answer.startswith(b"HTTP/1.0 400 Bad Request")
        assert answer.endswith(b"Client sent an HTTP request to an HTTPS server.\n")


@both_loops
async def test_silence_and_noise_on_a_tls_listener(authority, tls):
    async with serving(tls(http_read_header_timeout=0.1)) as listener:
        assert await exchange(listener, b"") == b""
        assert await exchange(listener, b"\x16") == b""
        with contextlib.suppress(ConnectionError):
            assert await exchange(listener, b"\x00\x01") == b""
        assert (await ask(listener, client_context(authority))).startswith(b"HTTP/1.1 200")
        assert not listener._handshakes


@both_loops
async def test_reload_changes_new_connections_and_keeps_old_ones(authority, tls):
    config = tls()
    async with serving(config) as listener:
        reader, old = await dial(listener, client_context(authority))
        first = peer_serial(old)
        second = (await asyncio.to_thread(authority.issue, "server")).serial  # over the same files
        await listener.reload()
        _, new = await dial(listener, client_context(authority))
        assert peer_serial(new) == second != first
        old.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        old.close()
        new.close()


@both_loops
async def test_reload_of_bad_files_keeps_the_old_ones(authority, server_pair, tls):
    config = tls()
    async with serving(config) as listener:
        await asyncio.to_thread(server_pair.cert.write_text, "rubbish")
        with pytest.raises(ConfigError, match=r"^f:1: tls_cert_file .*not a PEM certificate"):
            await listener.reload()
        assert (await ask(listener, client_context(authority))).startswith(b"HTTP/1.1 200")


@both_loops
async def test_client_certificates_required(authority, tls, ann, eve):
    config = tls(tls_require_and_verify_client_cert=True, tls_client_ca_file=str(authority.pem))
    async with serving(config, _who) as listener:
        assert (await ask(listener, client_context(authority, ann))).endswith(b"ann")
        for pair in (None, eve):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                assert await ask(listener, client_context(authority, pair)) == b""


@both_loops
async def test_client_certificates_optional(authority, tls, ann):
    async with serving(tls(tls_client_ca_file=str(authority.pem)), _who) as listener:
        assert (await ask(listener, client_context(authority, ann))).endswith(b"ann")
        assert (await ask(listener, client_context(authority))).endswith(b"nobody")


@both_loops
async def test_client_certificates_off(authority, tls, ann):
    config = tls(tls_client_ca_file=str(authority.pem), tls_disable_client_certs=True)
    async with serving(config, _who) as listener:
        assert (await ask(listener, client_context(authority, ann))).endswith(b"nobody")


async def _who(request: HttpRequest) -> Answer:
    der = request.protocol.certificate
    if der is None:
        return Answer(200, b"nobody")
    (name,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Answer(200, name.value.encode())


def bound(config: ListenerConfig) -> str:
    with pytest.raises(ConfigError) as error:
        Listener(config).bind()
    return str(error.value)


def test_wrong_tls_files_say_what_is_wrong(authority, tmp_path):
    good, other = authority.issue("good"), authority.issue("other")
    locked = authority.issue("locked", password=b"x")

    def config(cert=good.cert, key=good.key, **options):
        return ListenerConfig(
            address="127.0.0.1:0", origin="f:1", tls_cert_file=str(cert), tls_key_file=str(key), **options
        )

    assert (
        bound(config(cert=tmp_path / "no"))
        == f"f:1: tls_cert_file: {tmp_path}/no cannot be read: No such file or directory"
    )
    assert f"is not the key of the certificate in {good.cert}" in bound(config(key=other.key))
    assert "is encrypted; give a key without a passphrase" in bound(config(locked.cert, locked.key))
    assert "holds no PEM certificates" in bound(config(tls_client_ca_file=str(good.key)))
    assert "TLS_NULL is not one of TLS_AES_128" in bound(config(tls_cipher_suites=("TLS_NULL",)))


# Unix sockets


@both_loops
async def test_unix_socket_with_mode_and_owner(tmp_path):
    path = tmp_path / "caveau.sock"
    config = ListenerConfig(type="unix", address=str(path), socket_mode=0o660, socket_user=str(os.getuid()),
                            socket_group=str(os.getgid()))  # fmt: skip
    async with serving(config) as listener:
        assert listener.url == f"unix://{path}"
        assert stat.S_IMODE((await asyncio.to_thread(path.stat)).st_mode) == 0o660
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://x/") as response:
            assert await response.text() == "hello "
    assert not await asyncio.to_thread(path.exists)


def test_unix_socket_is_closed_to_others_by_default(tmp_path):
    path = tmp_path / "s"
    listener = Listener(ListenerConfig(type="unix", address=str(path)))
    listener.bind()
    listener._socket.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@both_loops
async def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    config = ListenerConfig(type="unix", address=str(tmp_path / "s"), origin="f:1")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(config.address)
    async with serving(config) as listener:
        assert "another program listens there" in await asyncio.to_thread(bound, config)
        reader, writer = await asyncio.open_unix_connection(config.address)
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await until(lambda: not listener._server.connections)


def test_a_file_is_not_replaced_by_a_socket(tmp_path):
    config = ListenerConfig(type="unix", address=str(tmp_path / "s"))
    (tmp_path / "s").write_text("precious")
    assert "a file that is no socket is there" in bound(config)
    assert (tmp_path / "s").read_text() == "precious"


def test_unknown_socket_owner(tmp_path):
    config = ListenerConfig(type="unix", address=str(tmp_path / "s"), socket_user="no-such-user")
    assert "no-such-user" in bound(config)

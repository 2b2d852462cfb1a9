"""Socket, syslog and http devices, each against a peer that listens."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest
from caveau.server.audit.http import HttpDevice
from caveau.server.audit.options import Options
from caveau.server.audit.socket import SocketDevice
from caveau.server.audit.syslog import SyslogDevice


def made(cls, **options):
    return cls.from_options(Options(options))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_stream_is_connected_again_when_the_peer_has_closed(tmp_path, kind):
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    with socket.socket(family) as server:
        server.bind(("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "s"))
        server.listen()
        name = server.getsockname()
        address = f"127.0.0.1:{name[1]}" if kind == "tcp" else name
        device = made(SocketDevice, address=address, socket_type=kind)
        device.write([b"a\n", b"b\n"])
        peer, _ = server.accept()
        assert peer.recv(100) == b"a\nb\n"
        peer.close()
        device.write([b"c\n"])
        peer, _ = server.accept()
        assert peer.recv(100) == b"c\n"
        peer.close()
        device.close()


def test_a_stream_that_nobody_reads_ends_in_time():
    with socket.create_server(("127.0.0.1", 0)) as server:
        device = made(SocketDevice, address=f"127.0.0.1:{server.getsockname()[1]}", write_timeout="50ms")
        with pytest.raises(TimeoutError):
            device.write([b"x" * (64 << 20)])
        device.close()


def test_a_stream_is_kept_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        device = made(SocketDevice, address=f"127.0.0.1:{server.getsockname()[1]}")
        for _ in range(3):
            device.write([b"a\n"])
        peer, _ = server.accept()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
        peer.close()
        device.close()


def test_a_datagram_an_entry():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        device = made(SocketDevice, address=f"127.0.0.1:{server.getsockname()[1]}", socket_type="udp")
        device.write([b"a\n", b"b\n"])
        assert [server.recv(100), server.recv(100)] == [b"a\n", b"b\n"]
        with pytest.raises(OSError, match="too long"):
            device.write([b"x" * 70_000])
        device.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_syslog(tmp_path, kind):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, kind) as daemon:
        daemon.bind(path)
        if kind == socket.SOCK_STREAM:
            daemon.listen()
        device = made(SyslogDevice, address=path, facility="local3", tag="audit")
        device.write([b'{"a":1}\n'])
        peer = daemon.accept()[0] if kind == socket.SOCK_STREAM else daemon
        message = peer.recv(100).rstrip(b"\0")
        assert message.startswith(b"<158>audit[")  # 19 * 8 + 6
        assert message.endswith(b']: {"a":1}')
        if peer is not daemon:
            peer.close()
        device.close()


class Collector(http.server.ThreadingHTTPServer):
    """Answers with the statuses it is told, then 200; keeps what it got."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.answer = b"{}"
        self.connections = 0

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_port}/in?x=1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_): ...


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_http_posts_lines_with_its_headers_on_one_connection(collector):
    device = made(HttpDevice, uri=collector.uri, headers='{"Authorization": "Bearer t", "X-Many": ["a", "b"]}')
    device.write([b'{"a":1}\n', b'{"b":2}\n'])
    device.write([b'{"c":3}\n'])
    (path, headers, body), second = collector.got
    assert path == "/in?x=1"
    assert headers["Authorization"] == "Bearer t"
    assert headers["X-Many"] == "a, b"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert body == b'{"a":1}\n{"b":2}\n'
    assert second[2] == b'{"c":3}\n'
    assert collector.connections == 1
    device.close()


def test_http_batches(collector):
    device = made(HttpDevice, uri=collector.uri, batch_bytes="20")
    device.write([b'{"n":%d}\n' % number for number in range(5)])
    assert [body.count(b"\n") for _, _, body in collector.got] == [2, 2, 1]
    device.close()


def test_http_bodies_for_splunk_and_elasticsearch(collector):
    splunk = made(HttpDevice, uri=collector.uri, body="splunk")
    splunk.write([b'{"a":1}\n', b'{"b":2}\n'])
    splunk.close()
    events = [json.loads(line) for line in collector.got[0][2].splitlines()]
    assert [event["event"] for event in events] == [{"a": 1}, {"b": 2}]
    elastic = made(HttpDevice, uri=collector.uri, body="elasticsearch")
    elastic.write([b'{"a":1}\n'])
    assert [json.loads(line) for line in collector.got[1][2].splitlines()] == [{"create": {}}, {"a": 1}]
    collector.answer = b'{"errors": true}'
    with pytest.raises(OSError, match="did not take every document"):
        elastic.write([b'{"a":1}\n'])
    elastic.close()


def test_http_tries_again_what_may_pass_and_nothing_else(collector, monkeypatch):
    monkeypatch.setattr("caveau.server.audit.http._FIRST_PAUSE", 0.001)
    collector.statuses = [503, 429]
    device = made(HttpDevice, uri=collector.uri)
    device.write([b"a\n"])
    assert len(collector.got) == 3
    collector.statuses = [403]
    with pytest.raises(OSError, match="answers 403"):
        device.write([b"b\n"])
    assert len(collector.got) == 4
    monkeypatch.setattr("caveau.server.audit.http._LIMIT_SECONDS", 0.01)
    collector.statuses = [500] * 50
    with pytest.raises(OSError, match="answers 500"):
        device.write([b"c\n"])
    device.close()


def test_http_without_a_collector(monkeypatch):
    monkeypatch.setattr("caveau.server.audit.http._LIMIT_SECONDS", 0.01)
    with pytest.raises(OSError, match="refused"):
        made(HttpDevice, uri="http://127.0.0.1:1/").write([b"a\n"])

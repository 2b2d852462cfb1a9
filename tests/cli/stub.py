"""A tiny HTTP server that answers as told and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: Any


class Answer(NamedTuple):
    status: int = 204
    body: Any = None
    headers: dict[str, str] = {}


class Stub:
    """``answers`` are used up from the front; the last one stays. ``address`` is where it listens."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.address = ""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Threaded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the middle of a handshake is part of the tests."""


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.asked.append(Asked(self.command, self.path, headers, json.loads(raw) if raw else None))
            answer = stub.next()
            body = (
                b""
                if answer.body is None
                else (answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode())
            )
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def address_string(self) -> str:
            return "stub"

    return Handler


@contextlib.contextmanager
def serving(*answers: Answer, tls: ssl.SSLContext | None = None, unix: str = "") -> Iterator[Stub]:
    stub = Stub(list(answers) or [Answer()])
    server: socketserver.BaseServer
    if unix:
        server = _Unix(unix, _handler(stub))
        stub.address = f"unix://{unix}"
    else:
        tcp = _Threaded(("127.0.0.1", 0), _handler(stub))
        if tls:
            tcp.socket = tls.wrap_socket(tcp.socket, server_side=True, do_handshake_on_connect=False)
        stub.address = f"{'https' if tls else 'http'}://127.0.0.1:{tcp.server_address[1]}"
        server = tcp
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

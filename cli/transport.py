"""One HTTP exchange with the server: TCP, TLS or a Unix socket, by the standard library."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple
from urllib.parse import unquote, urlsplit

MAX_BODY = 1 << 28
"""Longest answer that is read, in bytes."""

_HTTP_TO_TLS = "server gave HTTP response to HTTPS client"


class TransportError(Exception):
    """No answer came. The message says why, and what to set where that is known."""


class Address(NamedTuple):
    """Where the server is: ``scheme`` is http, https or unix; ``prefix`` a path before ``/v1``."""

    scheme: str
    host: str
    port: int
    prefix: str
    text: str

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


class TLS(NamedTuple):
    """How to trust the server, and who we are."""

    ca_cert: str = ""
    ca_cert_pem: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    server_name: str = ""
    skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises TransportError where a file is missing or no certificate."""
        if bool(self.client_cert) != bool(self.client_key):
            raise TransportError("a client certificate needs its key, and a key its certificate")
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and trusts nobody yet
            if self.ca_cert or self.ca_cert_pem:
                context.load_verify_locations(self.ca_cert or None, cadata=None if self.ca_cert else self.ca_cert_pem)
            elif self.ca_path:
                _load_directory(context, self.ca_path)
            else:
                context.load_default_certs()
            if self.client_cert:
                context.load_cert_chain(self.client_cert, self.client_key)
        except (OSError, ValueError) as e:
            names = ", ".join(filter(None, (self.ca_cert, self.ca_path, self.client_cert, self.client_key)))
            raise TransportError(f"cannot load the TLS files ({names}): {e}") from e
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Response(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


def parse_address(text: str) -> Address:
    """Raises TransportError where ``text`` is no address."""
    if text.startswith("unix://"):
        return Address("unix", unquote(text.removeprefix("unix://")), 0, "", "http://localhost")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise TransportError(f'parse "{text}": {e}') from e
    if not parts.scheme or "://" not in text:
        raise TransportError(f'parse "{text}": an address starts with http://, https:// or unix://')
    if parts.scheme not in ("http", "https"):
        raise TransportError(f'unsupported protocol scheme "{parts.scheme}"')
    if not parts.hostname:
        raise TransportError(f'parse "{text}": no host')
    default = 443 if parts.scheme == "https" else 80
    base = f"{parts.scheme}://{parts.netloc}"
    return Address(parts.scheme, parts.hostname, port or default, parts.path.rstrip("/"), base)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _TLSConnection(http.client.HTTPSConnection):
    """HTTPS whose certificate may be expected for another name than the one dialled."""

    def __init__(self, address: Address, tls: TLS, timeout: float | None) -> None:
        self._tls_context = tls.context()
        self._server_name = tls.server_name or address.host
        super().__init__(address.host, address.port, timeout=timeout, context=self._tls_context)

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls_context.wrap_socket(self.sock, server_hostname=self._server_name)


def exchange(
    address: Address, tls: TLS, method: str, target: str, headers: dict[str, str],
    body: bytes | IO[bytes] | None, timeout: float,
) -> Response:  # fmt: skip
    """Send one request, read the whole answer. ``timeout`` is in seconds, 0 for none.

    Raises TransportError.
    """
    with _opened(address, tls, method, target, headers, body, timeout) as answer:
        response = Response(answer.status, _lower(answer), answer.read(MAX_BODY + 1))
    if len(response.body) > MAX_BODY:
        raise TransportError(f"the answer is longer than {MAX_BODY} bytes")
    if response.status == 400 and address.scheme == "http" and b"HTTP request to an HTTPS server" in response.body:
        raise TransportError(_is_tls(address))
    return response


@contextmanager
def stream(
    address: Address, tls: TLS, method: str, target: str, headers: dict[str, str], timeout: float
) -> Iterator[tuple[Response, Iterator[bytes]]]:
    """Send one request, and give the lines of its answer as they come; one that refuses is read whole.

    ``timeout``, in seconds, is for the server to say something: it may send lines that rarely. Raises TransportError.
    """
    with _opened(address, tls, method, target, headers, None, timeout) as answer:
        if answer.status >= 400:
            yield Response(answer.status, _lower(answer), answer.read(MAX_BODY)), iter(())
        else:
            yield Response(answer.status, _lower(answer), b""), iter(answer.readline, b"")


def _lower(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


@contextmanager
def _opened(
    address: Address, tls: TLS, method: str, target: str, headers: dict[str, str],
    body: bytes | IO[bytes] | None, timeout: float,
) -> Iterator[http.client.HTTPResponse]:  # fmt: skip
    """The answer to a request, its body not read yet. What goes wrong until the end is a TransportError."""
    limit = timeout or None
    connection: http.client.HTTPConnection
    if address.scheme == "unix":
        connection = _UnixConnection(address.host, limit)
    elif address.scheme == "https":
        connection = _TLSConnection(address, tls, limit)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=limit)
    try:
        connection.request(method, target, body=body, headers=headers)
        yield connection.getresponse()
    except ssl.SSLError as e:
        raise TransportError(_tls_reason(e, address)) from e
    except (http.client.HTTPException, ConnectionResetError) as e:
        raise TransportError(_plain_reason(e, address)) from e
    except TimeoutError as e:
        raise TransportError(f"no answer within {timeout:g} seconds") from e
    except BrokenPipeError:
        raise  # of whoever reads what we print
    except OSError as e:
        raise TransportError(_dial_reason(e, address)) from e
    finally:
        connection.close()


def _load_directory(context: ssl.SSLContext, directory: str) -> None:
    """Trust every PEM file of ``directory``, whatever its name (OpenSSL itself wants hashed names)."""
    import os

    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            context.load_verify_locations(path)
    if not context.get_ca_certs():
        raise TransportError(f"no CA certificate in {directory}")


def _dial_reason(error: OSError, address: Address) -> str:
    reason = (error.strerror or str(error)).lower()
    if address.scheme == "unix":
        return f"dial unix {address.host}: connect: {reason}"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {address.host}: {reason}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"dial tcp {host}:{address.port}: connect: {reason}"


def _tls_reason(error: ssl.SSLError, address: Address) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {error.verify_message or error}"
    if error.reason not in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return f"tls: {error.reason or error}"
    hint = f"\nThe server speaks plain HTTP. Set VAULT_ADDR={address.text.replace('https:', 'http:', 1)}"
    return f"http: {_HTTP_TO_TLS}" + (hint if address.loopback else "")


def _plain_reason(error: Exception, address: Address) -> str:
    if address.scheme == "http" and address.loopback and _answers_tls(address):
        return _is_tls(address)
    return f"http: {error or type(error).__name__}"


def _is_tls(address: Address) -> str:
    hint = f"\nThe server speaks HTTPS. Set VAULT_ADDR={address.text.replace('http:', 'https:', 1)}"
    return "http: server gave HTTPS response to HTTP client" + (hint if address.loopback else "")


def _answers_tls(address: Address) -> bool:
    """Whether a TLS handshake succeeds there; nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address.host, address.port), timeout=2) as plain:
            context.wrap_socket(plain, server_hostname=address.host).close()
    except OSError:
        return False
    return True

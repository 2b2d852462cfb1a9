"""Who is really calling, when a proxy stands between: ``X-Forwarded-For`` and certificate headers.

A proxy is believed only from an address in ``x_forwarded_for_authorized_addrs``. Without that list
the headers mean nothing.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
from urllib.parse import unquote_to_bytes

from ..framework.errors import InvalidRequest
from .config import ListenerConfig
from .http_request import HttpRequest

_MAX_CERTIFICATE = 64 << 10


def client_address(request: HttpRequest, listener: ListenerConfig) -> str:
    """The client's IP address as text; ``""`` over a unix socket.

    Raises InvalidRequest where the listener is to reject a request without the header
    (``x_forwarded_for_reject_not_present``) or with one from somebody else than its proxies
    (``x_forwarded_for_reject_not_authorized``).
    """
    peer = request.protocol.client
    if not listener.x_forwarded_for_authorized_addrs:
        return peer
    headers = request.headers.getall("X-Forwarded-For", [])
    if not any(headers):
        if listener.x_forwarded_for_reject_not_present:
            raise InvalidRequest("missing x-forwarded-for header and configured to reject when not present")
        return peer
    if not _is_proxy(peer, listener):
        if listener.x_forwarded_for_reject_not_authorized:
            raise InvalidRequest(
                "client address not authorized for x-forwarded-for and configured to reject connection"
            )
        return peer
    hops = [hop.strip() for header in headers for hop in header.split(",")]
    index = len(hops) - 1 - listener.x_forwarded_for_hop_skips
    if index < 0:
        raise InvalidRequest(
            "malformed x-forwarded-for configuration or request, hops to skip "
            f"({listener.x_forwarded_for_hop_skips}) would skip before earliest chain link (chain length {len(hops)})"
        )
    return _hop_address(hops[index])


def client_certificate(request: HttpRequest, listener: ListenerConfig) -> bytes | None:
    """The client's certificate as DER, from the connection or, where one is configured, from the proxy's header.

    A header's certificate was verified by the proxy, not here. Raises InvalidRequest when it
    cannot be decoded.
    """
    name = listener.x_forwarded_for_client_cert_header
    if not name:
        return request.protocol.certificate
    text = request.headers.get(name, "")
    if not text or not _is_proxy(request.protocol.client, listener):
        return None
    try:
        return _decoded(text, listener.x_forwarded_for_client_cert_decoders)
    except (ValueError, binascii.Error):
        raise InvalidRequest(f"header {name} holds no certificate in the configured encoding") from None


def address_of(peer: object) -> str:
    """The address in the name that a socket gives its other end; ``""`` for a unix socket."""
    if not isinstance(peer, tuple):
        return ""
    address = str(peer[0])
    return address.removeprefix("::ffff:") if "." in address else address  # IPv4 on a dual-stack socket


def _is_proxy(peer: str, listener: ListenerConfig) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in listener.x_forwarded_for_authorized_addrs)


_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::\d+)?|(?P<four>[\d.]+):\d+")


def _hop_address(hop: str) -> str:
    """Some proxies add the port."""
    match = _WITH_PORT.fullmatch(hop)
    text = (match["six"] or match["four"]) if match else hop
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidRequest("malformed x-forwarded-for header: a hop is not an IP address") from None


_ENVOY_CERT = re.compile(rb'(?:^|[;,])Cert="?([^";,]*)', re.IGNORECASE)


def _decoded(text: str, decoders: tuple[str, ...]) -> bytes:
    value = text.encode("ascii")
    for decoder in decoders:
        match decoder:
            case "URL":
                value = unquote_to_bytes(value)
            case "BASE64":
                value = base64.b64decode(value, validate=True)
            case "RFC9440":  # section 2.1: base64 between colons
                if not (value.startswith(b":") and value.endswith(b":")):
                    raise ValueError(decoder)
                value = base64.b64decode(value[1:-1], validate=True)
            case "ENVOY":  # the nearest proxy's element is the last
                value = unquote_to_bytes(_ENVOY_CERT.findall(value)[-1:][0] if _ENVOY_CERT.search(value) else b"")
            case _:  # PEM, and DER, which is Vault's name for it
                value = ssl.PEM_cert_to_DER_cert(value.decode("ascii"))
    if not value.startswith(b"0"):  # the tag of a DER SEQUENCE
        value = base64.b64decode(value, validate=True)
    if not value.startswith(b"0") or len(value) > _MAX_CERTIFICATE:
        raise ValueError("no certificate")
    return value

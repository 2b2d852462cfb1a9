"""The client's address and certificate behind proxies."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.config import ListenerConfig
from caveau.server.forwarded import address_of, client_address, client_certificate
from multidict import CIMultiDict


def request(peer, *forwarded: str, certificate=None, **headers: str):
    """As much of a request as the functions look at."""
    pairs = [("X-Forwarded-For", value) for value in forwarded]
    return SimpleNamespace(
        headers=CIMultiDict([*pairs, *((k.replace("_", "-"), v) for k, v in headers.items())]),
        protocol=SimpleNamespace(client=address_of(peer), certificate=certificate),
    )


def listener(*proxies: str, **options) -> ListenerConfig:
    networks = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
    prefixed = {f"x_forwarded_for_{name}": value for name, value in options.items()}
    return ListenerConfig(x_forwarded_for_authorized_addrs=networks, **prefixed)


PROXY, STRANGER = ("10.1.2.3", 5000), ("192.0.2.9", 5000)
LENIENT = {"reject_not_present": False, "reject_not_authorized": False}
NOT_PRESENT = "missing x-forwarded-for header and configured to reject when not present"
NOT_AUTHORIZED = "client address not authorized for x-forwarded-for and configured to reject connection"


@pytest.mark.parametrize(
    ("peer", "proxies", "options", "headers", "expected"),
    [
        (STRANGER, [], {}, [], "192.0.2.9"),
        (STRANGER, [], {}, ["1.2.3.4"], "192.0.2.9"),  # without proxies the header means nothing
        (("::1", 5000, 0, 0), [], {}, [], "::1"),
        (("::ffff:192.0.2.9", 5000, 0, 0), [], {}, [], "192.0.2.9"),
        ("", [], {}, [], ""),  # a unix socket
        (PROXY, ["10.0.0.0/8"], {}, ["1.2.3.4"], "1.2.3.4"),
        (("::ffff:10.1.2.3", 1, 0, 0), ["10.0.0.0/8"], {}, ["1.2.3.4"], "1.2.3.4"),
        (("fd00::1", 1, 0, 0), ["10.0.0.0/8", "fd00::/8"], {}, ["1.2.3.4"], "1.2.3.4"),
        (PROXY, ["10.0.0.0/8"], {}, ["1.2.3.4, 2.3.4.5, 3.4.5.6"], "3.4.5.6"),
        (PROXY, ["10.0.0.0/8"], {"hop_skips": 1}, ["1.2.3.4, 2.3.4.5, 3.4.5.6, 4.5.6.7"], "3.4.5.6"),
        (PROXY, ["10.0.0.0/8"], {"hop_skips": 2}, ["1.2.3.4,2.3.4.5", "3.4.5.6"], "1.2.3.4"),
        (PROXY, ["10.0.0.0/8"], {}, ["1.2.3.4:4711"], "1.2.3.4"),
        (PROXY, ["10.0.0.0/8"], {}, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (PROXY, ["10.0.0.0/8"], {}, ["2001:DB8::1"], "2001:db8::1"),
        (PROXY, ["10.0.0.0/8"], LENIENT, [], "10.1.2.3"),
        (PROXY, ["10.0.0.0/8"], LENIENT, [""], "10.1.2.3"),
        (STRANGER, ["10.0.0.0/8"], LENIENT, ["1.2.3.4"], "192.0.2.9"),
        (STRANGER, ["10.0.0.0/8"], LENIENT, [], "192.0.2.9"),
        ("", ["10.0.0.0/8"], LENIENT, ["1.2.3.4"], ""),
    ],
)
def test_client_address(peer, proxies, options, headers, expected):
    assert client_address(request(peer, *headers), listener(*proxies, **options)) == expected


@pytest.mark.parametrize(
    ("peer", "options", "headers", "message"),
    [
        (PROXY, {}, [], NOT_PRESENT),
        (PROXY, {}, [""], NOT_PRESENT),
        (STRANGER, {}, [], NOT_PRESENT),
        (STRANGER, {}, ["1.2.3.4"], NOT_AUTHORIZED),
        ("", {}, ["1.2.3.4"], NOT_AUTHORIZED),
        (
            PROXY,
            {"hop_skips": 2},
            ["1.2.3.4, 2.3.4.5"],
            "malformed x-forwarded-for configuration or request, hops to skip (2) would skip before "
            "earliest chain link (chain length 2)",
        ),
        (PROXY, {}, ["<script>"], "malformed x-forwarded-for header: a hop is not an IP address"),
        (PROXY, {}, ["1.2.3.4,"], "malformed x-forwarded-for header: a hop is not an IP address"),
    ],
)
def test_rejected(peer, options, headers, message):
    with pytest.raises(InvalidRequest) as error:
        client_address(request(peer, *headers), listener("10.0.0.0/8", **options))
    assert str(error.value) == message


# Certificates


def forms(der: bytes) -> dict[str, tuple[str, tuple[str, ...]]]:
    pem = ssl.DER_cert_to_PEM_cert(der)
    plain = base64.b64encode(der).decode()
    return {
        "base64 DER": (plain, ()),
        "BASE64": (plain, ("BASE64",)),
        "nginx": (quote(pem, safe=""), ("URL", "PEM")),
        "Vault's name of PEM": (quote(pem, safe=""), ("URL", "DER")),
        "traefik": (base64.b64encode(pem.encode()).decode(), ("BASE64", "DER")),
        "RFC 9440": (f":{plain}:", ("RFC9440",)),
        "Envoy": (
            f'By=spiffe://a;Hash=00;Cert="{quote("nearer the client, not to be believed")}",'
            f'By=spiffe://b;Hash=11;Cert="{quote(pem, safe="")}";Subject="CN=ann"',
            ("ENVOY", "PEM"),
        ),
    }


@pytest.fixture
def der(authority) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.issue("ann").cert.read_text())


@pytest.mark.parametrize("form", forms(b"0"))
def test_certificate_from_a_proxy(form, der):
    value, decoders = forms(der)[form]
    config = listener("10.0.0.0/8", client_cert_header="Client-Cert", client_cert_decoders=decoders)
    assert client_certificate(request(PROXY, Client_Cert=value), config) == der
    assert client_certificate(request(STRANGER, Client_Cert=value), config) is None
    assert client_certificate(request(PROXY), config) is None


@pytest.mark.parametrize(
    ("value", "decoders"),
    [
        ("rubbish", ()),
        ("rubbish", ("BASE64",)),
        ("rubbish", ("PEM",)),
        ("cnViYmlzaA==", ("RFC9440",)),
        (":cnViYmlzaA==:", ("RFC9440",)),
        ("Hash=11", ("ENVOY", "PEM")),
        ("é", ()),
        (base64.b64encode(b"0" * (65 << 10)).decode(), ()),
    ],
)
def test_a_header_without_a_certificate_is_refused(value, decoders):
    config = listener("10.0.0.0/8", client_cert_header="Client-Cert", client_cert_decoders=decoders)
    with pytest.raises(InvalidRequest, match="header Client-Cert holds no certificate"):
        client_certificate(request(PROXY, Client_Cert=value), config)


def test_certificate_of_the_connection(der):
    assert client_certificate(request(PROXY, certificate=der), ListenerConfig()) == der
    assert client_certificate(request(PROXY), ListenerConfig()) is None


def test_the_header_replaces_the_connections_certificate(der):
    """Behind a proxy the connection's own certificate is the proxy's."""
    config = listener("10.0.0.0/8", client_cert_header="Client-Cert")
    assert client_certificate(request(PROXY, certificate=der), config) is None

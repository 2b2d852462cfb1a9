"""Requests over plain TCP, TLS and Unix sockets; redirects, retries, errors."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from caveau.cli import transport
from caveau.cli.client import APIError, Client, ClientError, Settings, SetupError, clean
from caveau.cli.flags import Flags, parse
from caveau.cli.global_flags import HTTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .stub import Answer, Stub, serving


class Files(NamedTuple):
    cert: str
    key: str


def flags(*argv: str) -> Flags:
    return parse(HTTP, list(argv))[0]


def client(stub: Stub, *argv: str, slept: list[float] | None = None) -> Client:
    settings = Settings.of(flags(f"-address={stub.address}", *argv))
    return Client(settings, sleep=(slept if slept is not None else []).append)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A self-signed certificate for 127.0.0.1 and vault.example."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([
            x509.DNSName("vault.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    return Files(str(cert_file), str(key_file))


@pytest.fixture
def https(certificate: Files) -> Iterator[Stub]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    with serving(Answer(200, {"data": {"a": 1}}), tls=context) as stub:
        yield stub


def test_headers_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.t")
    with serving(Answer(200, {"data": {}})) as stub:
        client(stub, "-ns=/a/b/", "-mfa=m:1", "-wrap-ttl=1m", "-header=X-A=b", "-policy-override").read("x")
        headers = stub.asked[0].headers
    assert {name: headers[name] for name in headers if name.startswith("x-")} == {
        "x-vault-request": "true", "x-vault-token": "hvs.t", "x-vault-namespace": "a/b/", "x-vault-mfa": "m:1",
        "x-vault-wrap-ttl": "1m0s", "x-a": "b", "x-vault-policy-override": "true",
    }  # fmt: skip


def test_the_unlock_key_stays_out_of_other_requests() -> None:
    with serving(Answer(200, {"data": {}})) as stub:
        client(stub, "-unlock-key=k").read("x")
        assert "k" not in stub.asked[0].headers.values()


def test_verbs_paths_and_bodies() -> None:
    with serving(Answer(200, {"data": {"a": 1}})) as stub:
        made = client(stub)
        made.write("a b/c%", {"k": "é"})
        made.patch("p", {"k": None})
        made.list("l/", {"after": "x"})
        made.list("l", scan=True)
        made.delete("d", {"versions": ["1", "2"]})
    assert [(asked.method, asked.path, asked.body) for asked in stub.asked] == [
        ("PUT", "/v1/a%20b/c%25", {"k": "é"}), ("PATCH", "/v1/p", {"k": None}),
        ("GET", "/v1/l?after=x&list=true", None),
        ("GET", "/v1/l?scan=true", None), ("DELETE", "/v1/d?versions=1&versions=2", None),
    ]  # fmt: skip
    assert stub.asked[1].headers["content-type"] == "application/merge-patch+json"


@pytest.mark.parametrize(
    ("path", "cleaned"), [("a/b", "/a/b"), ("/a//b/", "/a/b"), ("a/../b", "/b"), ("../../x", "/x"), ("", "/")]
)
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


def test_an_error_is_the_originals_block() -> None:
    with serving(Answer(403, {"errors": ["permission denied", "twice"]})) as stub, pytest.raises(APIError) as caught:
        client(stub, "-namespace=ns").read("x")
    assert str(caught.value) == (
        f"Error making API request.\n\nNamespace: ns/\nURL: GET {stub.address}/v1/x\nCode: 403. Errors:\n\n"
        "* permission denied\n* twice"
    )


def test_an_answer_that_is_no_json_is_shown_raw() -> None:
    with serving(Answer(502, b"<html>bad gateway</html>")) as stub, pytest.raises(APIError) as caught:
        client(stub).read("x")
    assert str(caught.value).endswith("Code: 502. Raw Message:\n\n<html>bad gateway</html>")
    with serving(Answer(200, b"<html>")) as stub, pytest.raises(ClientError, match="not JSON"):
        client(stub).read("x")


def test_nothing_there_is_none_but_warnings_are_kept() -> None:
    with serving(Answer(404, {"errors": []}), Answer(404, {"errors": [], "warnings": ["w"]})) as stub:
        assert client(stub).read("x") is None
        assert (client(stub).read("x") or {})["warnings"] == ["w"]


def test_an_answer_without_an_envelope_is_data() -> None:
    with serving(Answer(200, {"active": False}), Answer(200, {"warnings": ["w"]}), Answer(200, {})) as stub:
        asked = client(stub)
        assert asked.write("identity/oidc/introspect") == {"data": {"active": False}}
        assert asked.read("x") == {"warnings": ["w"]}
        assert asked.read("x") == {}


def test_one_redirect_is_followed_with_method_body_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.t")
    with serving(Answer(200, {"data": {"a": 1}})) as leader:
        moved = Answer(307, None, {"Location": f"{leader.address}/v1/x?q=1"})
        with serving(moved) as standby:
            assert client(standby).write("x", {"k": 1}) == {"data": {"a": 1}}
            asked = leader.asked[0]
            assert (asked.method, asked.path, asked.body) == ("PUT", "/v1/x?q=1", {"k": 1})
            assert asked.headers["x-vault-token"] == "hvs.t"
            with pytest.raises(ClientError, match="-disable-redirects"):
                client(standby, "-disable-redirects").write("x", {"k": 1})
    with serving(Answer(307, None, {"Location": "/v1/x"})) as loop, pytest.raises(ClientError, match="more than once"):
        client(loop).read("x")
    assert len(loop.asked) == 2


def test_a_redirect_never_leaves_tls(https: Stub, certificate: Files) -> None:
    https.answers = [Answer(307, None, {"Location": "http://127.0.0.1:1/v1/x"})]
    with pytest.raises(ClientError, match="downgrade"):
        client(https, f"-ca-cert={certificate.cert}").read("x")


def test_retries_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Answer(503, {"errors": ["sealed"]})) as stub:
        with pytest.raises(APIError):
            client(stub).read("x")
        assert len(stub.asked) == 1
    monkeypatch.setenv("VAULT_MAX_RETRIES", "2")
    slept: list[float] = []
    with serving(Answer(500, {"errors": []}), Answer(412, {"errors": []}), Answer(200, {"data": {}})) as stub:
        assert client(stub, slept=slept).read("x") == {"data": {}}
        assert len(stub.asked) == 3
    assert len(slept) == 2
    assert 1.0 <= slept[0] <= 1.5 <= 2.0 <= slept[1] <= 3.0
    with serving(Answer(501, {"errors": []})) as stub, pytest.raises(APIError):
        client(stub).read("x")
    assert len(stub.asked) == 1
    with serving(Answer(400, {"errors": []})) as stub, pytest.raises(APIError):
        client(stub).read("x")
    assert len(stub.asked) == 1


def test_nobody_listens() -> None:
    with serving() as stub:
        address = stub.address
    gone = Client(Settings.of(flags(f"-address={address}")))
    host = address.removeprefix("http://")
    with pytest.raises(ClientError) as caught:
        gone.read("x")
    assert str(caught.value) == f'Get "{address}/v1/x": dial tcp {host}: connect: connection refused'


def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(Answer(200, {"data": {"a": 1}}), unix=path) as stub:
        assert client(stub).read("x") == {"data": {"a": 1}}
        assert stub.asked[0].headers["host"] == "localhost"
    with pytest.raises(ClientError, match=f"dial unix {path}: connect: "):
        client(stub).read("x")


def test_tls_is_verified(https: Stub, certificate: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match="failed to verify certificate"):
        client(https).read("x")
    assert not https.asked
    assert client(https, f"-ca-cert={certificate.cert}").read("x") == {"data": {"a": 1}}
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "any-name.pem").write_text(Path(certificate.cert).read_text())
    assert client(https, f"-ca-path={tmp_path}/ca").read("x") == {"data": {"a": 1}}
    assert client(https, f"-ca-cert={certificate.cert}", "-tls-server-name=vault.example").read("x")
    with pytest.raises(ClientError, match=r"certificate.*other\.example"):
        client(https, f"-ca-cert={certificate.cert}", "-tls-server-name=other.example").read("x")
    assert client(https, "-tls-skip-verify").read("x")
    monkeypatch.setenv("VAULT_CACERT_BYTES", Path(certificate.cert).read_text())
    assert client(https).read("x")


def test_a_client_certificate_is_shown(certificate: Files) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate.cert)
    with serving(Answer(200, {"data": {"a": 1}}), tls=context) as stub:
        trust = f"-ca-cert={certificate.cert}"
        with pytest.raises(ClientError):
            client(stub, trust).read("x")
        with pytest.raises(ClientError, match="needs its key"):
            client(stub, trust, f"-client-cert={certificate.cert}").read("x")
        own = (f"-client-cert={certificate.cert}", f"-client-key={certificate.key}")
        assert client(stub, trust, *own).read("x") == {"data": {"a": 1}}


def test_missing_tls_files_are_named(https: Stub, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"/none\.pem"):
        client(https, "-ca-cert=/none.pem").read("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClientError, match="no CA certificate"):
        client(https, f"-ca-path={tmp_path}/empty").read("x")


def test_https_to_a_plain_server_says_which_address_to_set() -> None:
    with serving(Answer(200, {"data": {}})) as stub:
        wrong = stub.address.replace("http:", "https:")
        with pytest.raises(ClientError) as caught:
            Client(Settings.of(flags(f"-address={wrong}"))).read("x")
    assert "server gave HTTP response to HTTPS client" in str(caught.value)
    assert f"Set VAULT_ADDR={stub.address}" in str(caught.value)


def test_http_to_a_tls_server_says_which_address_to_set(https: Stub) -> None:
    wrong = https.address.replace("https:", "http:")
    with pytest.raises(ClientError) as caught:
        Client(Settings.of(flags(f"-address={wrong}"))).read("x")
    assert f"Set VAULT_ADDR={https.address}" in str(caught.value)
    assert not https.asked


def test_a_go_server_that_explains_itself_is_understood() -> None:
    go = Answer(400, b"Client sent an HTTP request to an HTTPS server.\n")
    with serving(go) as stub, pytest.raises(ClientError, match="Set VAULT_ADDR=https://127"):
        client(stub).read("x")


def test_a_token_that_would_break_the_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.a\nX-Evil: 1")
    with serving() as stub, pytest.raises(ClientError, match="non-printable") as caught:
        client(stub).read("x")
    assert "hvs.a" not in str(caught.value)
    assert not stub.asked


@pytest.mark.parametrize(
    ("argv", "message"),
    [(["-address=127.0.0.1:8200"], "an address starts with"),
     (["-address=ftp://x"], 'unsupported protocol scheme "ftp"'),
     (["-address=http://"], "no host"), (["-address=http://x:zz"], "parse"),
     (["-header=x-vault-token=t"], "start with X-Vault-")],
)  # fmt: skip
def test_settings_that_make_no_client(argv: list[str], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        Settings.of(flags(*argv))


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.of(flags()).address.text == "https://127.0.0.1:8200"
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example/prefix/")
    monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", "2m")
    monkeypatch.setenv("VAULT_NAMESPACE", "team")
    settings = Settings.of(flags())
    assert (settings.address.port, settings.address.prefix, settings.timeout) == (443, "/prefix", 120.0)
    assert settings.namespace == "team/"
    monkeypatch.setenv("VAULT_AGENT_ADDR", "http://agent:8100")
    assert Settings.of(flags()).address.text == "http://agent:8100"
    for name in ("VAULT_CLIENT_TIMEOUT", "VAULT_MAX_RETRIES"):
        monkeypatch.setenv(name, "zz")
        with pytest.raises(SetupError, match=f'could not parse "{name}"'):
            Settings.of(flags())
        monkeypatch.delenv(name)


def test_silence_ends() -> None:
    import socket

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = transport.parse_address(f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(transport.TransportError, match=r"no answer within 0\.05 seconds"):
            transport.exchange(address, transport.TLS(), "GET", "/", {}, None, 0.05)

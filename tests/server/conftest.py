"""A server without its HTTP, and one with leases; certificates for tests: a CA and what it signs, as PEM files."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from caveau.tests.server.harness import Server
from caveau.tests.server.leasing import serve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    cert: Path
    key: Path
    serial: int


class Authority:
    """A CA that writes into ``folder``."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.cert = self._sign(self.name, self.key, ca=True)
        self.pem = folder / f"{name}.pem"
        self.pem.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, hosts: tuple[str, ...] = ()
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [*map(x509.DNSName, ("localhost", *hosts)), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, name: str, *, password: bytes | None = None, hosts: tuple[str, ...] = ()) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, ca=False, hosts=hosts)
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        return Pair(cert_file, key_file, cert.serial_number)


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def other_authority(tmp_path) -> Authority:
    return Authority(tmp_path, "other-ca")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """An unsealed server with ``kv-v1/`` and ``kv-v2/`` mounted."""
    made = await Server().start(("kv-v1", "kv-v2"))
    yield made
    await made.core.stop()


@pytest.fixture
async def db() -> AsyncIterator[Server]:
    """A server with an engine of leases at ``db/``; ``db.users`` is the engine."""
    server, users = await serve()
    server.users = users  # type: ignore[attr-defined]
    server.node.revocations.luck = lambda: 0.5
    server.node.namespaces._reaper.cancel()  # tests say themselves when
    await server.policy("all", 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }')
    yield server
    await server.core.stop()

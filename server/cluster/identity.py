"""Who a node is to the others: the cluster's own certificate authority, and the TLS contexts that use it.

The authority is made when the server is initialised, and kept behind the barrier: a node that is unsealed issues
its own certificate, and a new one long before the old one ends. Nobody else has any reason to trust it, so it has no
end of its own (RFC 5280 section 4.1.2.5). A node's id is the one DNS name of its certificate.
"""

from __future__ import annotations

import secrets
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...framework.errors import StoreError

LIFE = 24 * 3600.0
"""Seconds for which a node's certificate is good."""
RENEWED = LIFE / 3
"""Seconds before its end, when it is replaced."""
_SKEW = timedelta(hours=1)  # by which clocks may differ
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node shows to others, and what it believes of them. ``ends``: seconds since the epoch."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes  # PEM
    authority: bytes  # PEM
    ends: float

    @classmethod
    def of(cls, key: ec.EllipticCurvePrivateKey, certificate: bytes, authority: bytes) -> Self:
        """Raises ValueError for what is no certificate of this key."""
        read = x509.load_pem_x509_certificate(certificate)
        if read.public_key() != key.public_key():
            raise ValueError("the certificate is of another key")
        return cls(key, certificate, authority, read.not_valid_after_utc.timestamp())


class Authority:
    """The cluster's certificate authority."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @classmethod
    def make(cls, now: float) -> Self:
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Caveau cluster {secrets.token_hex(4)}")])
        builder = _builder(name, name, key.public_key(), key.public_key(), now, _NEVER)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def dump(self) -> bytes:
        """PEM, the key included."""
        return key_pem(self._key, serialization.NoEncryption()) + self.pem

    @classmethod
    def load(cls, raw: bytes) -> Self:
        key = serialization.load_pem_private_key(raw, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StoreError("the key of the cluster's certificate authority is of another kind")
        return cls(key, x509.load_pem_x509_certificate(raw))

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self._certificate.public_bytes(_PEM)

    def issue(self, node: str, key: ec.EllipticCurvePublicKey, now: float) -> bytes:
        """A certificate for a node, PEM; ``now``: seconds since the epoch."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
        ends = datetime.fromtimestamp(now + LIFE, UTC)
        builder = _builder(name, self._certificate.subject, key, self._key.public_key(), now, ends)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(_PEM)

    def credentials(self, node: str, now: float) -> Credentials:
        """For this node itself."""
        key = new_key()
        return Credentials.of(key, self.issue(node, key.public_key(), now), self.pem)


class Identity:
    """A node's TLS contexts. What is loaded into them counts for connections made later, and disturbs none."""

    def __init__(self, protocols: Iterable[str]) -> None:
        """``protocols``: by their ALPN names, those that this node speaks."""
        self.server = _context(ssl.PROTOCOL_TLS_SERVER)
        self.credentials: Credentials | None = None
        self._clients = {name: _context(ssl.PROTOCOL_TLS_CLIENT) for name in protocols}
        for name, context in self._clients.items():
            context.set_alpn_protocols([name])
        self._trusted: set[tuple[ssl.SSLContext, bytes]] = set()

    def client(self, protocol: str) -> ssl.SSLContext:
        """For connections that speak ``protocol``."""
        return self._clients[protocol]

    def use(self, credentials: Credentials) -> None:
        """Show these from now on. Not for the event loop: a file is written, and read by OpenSSL."""
        for context in (self.server, *self._clients.values()):
            self._load(context, credentials)
        self.credentials = credentials

    def _load(self, context: ssl.SSLContext, credentials: Credentials) -> None:
        if (context, credentials.authority) not in self._trusted:
            context.load_verify_locations(cadata=credentials.authority.decode())
            self._trusted.add((context, credentials.authority))
        password = secrets.token_urlsafe(32)  # OpenSSL reads keys from files: nobody else shall read this one
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(key_pem(credentials.key, serialization.BestAvailableEncryption(password.encode())))
            file.write(credentials.certificate)
            file.flush()
            context.load_cert_chain(file.name, password=password)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)


def _context(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # who a peer is says its certificate, not where it was found
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    now: float,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now, UTC) - _SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

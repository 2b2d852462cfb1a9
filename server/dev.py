"""``server -dev``: a server that is ready for use, in memory or in a directory, with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from .config import ConfigError, ListenerConfig, ServerConfig, StorageConfig, split_address

if TYPE_CHECKING:
    from .core import Core

CA_FILE, CERT_FILE, KEY_FILE = "vault-ca.pem", "vault-cert.pem", "vault-key.pem"
_KEYS_FILE, _STORE_FILE = "dev-keys.json", "caveau.db"
_BEGUN_FILE = "dev-init-begun"
"""There while a new store is initialized: with it and without keys, nobody can ever open the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """``persist`` keeps data and keys in a directory; ``store_token`` is given the root token."""

    root_token_id: str = ""
    store_token: Callable[[str], None] | None = None
    persist: Path | None = None
    ca_file: Path | None = None
    cluster_json: Path | None = None
    initialize: bool = True


@dataclass(frozen=True, slots=True)
class DevKeys:
    unseal_key: str
    root_token: str

    def __repr__(self) -> str:
        return "DevKeys()"


def dev_config(config: ServerConfig, address: str, *, persist: Path | None, tls: Path | None) -> ServerConfig:
    """``config`` with a listener at ``address``, and a store unless it has one.

    ``persist`` is the directory for the store, ``tls`` the one that holds the certificate.
    """
    listener = ListenerConfig(
        address=address,
        origin="-dev-listen-address",
        tls_disable=tls is None,
        tls_cert_file=str(tls / CERT_FILE) if tls else "",
        tls_key_file=str(tls / KEY_FILE) if tls else "",
        max_request_duration=config.default_max_request_duration,
        unauthenticated_metrics_access=True,
    )
    store = config.storage or StorageConfig(type="inmem")
    if persist:
        if config.storage:
            raise ConfigError(
                f"{config.storage.origin}: -dev-persist brings its own store: leave the storage block out"
            )
        store = StorageConfig(type="sqlite", options={"path": str(persist / _STORE_FILE)})
    telemetry = replace(config.telemetry, disable_hostname=True)
    return replace(
        config,
        listeners=(listener, *config.listeners),
        storage=store,
        telemetry=telemetry,
        raw_storage_endpoint=True,  # as in Vault, and the next two
        introspection_endpoint=True,
        ui=True,
    )


async def open_dev(core: Core, options: DevOptions) -> DevKeys | None:
    """Initialize ``core`` or, in a directory used before, unseal it with the key kept there.

    Raises ConfigError when the directory does not fit, or the core's own errors.
    """
    if not options.initialize:
        return None
    known = await asyncio.to_thread(read_keys, options.persist) if options.persist else None
    if known is None:
        if options.persist:
            if await core.seal.barrier.initialized():
                raise ConfigError(f"{options.persist}: holds data but not its {_KEYS_FILE}; use another directory")
            await asyncio.to_thread(_write_private, options.persist / _BEGUN_FILE, {})
        keys = DevKeys(*await core.dev_init(options.root_token_id))
        if options.persist:
            await asyncio.to_thread(_keep, keys, options.persist)
        return keys
    if options.root_token_id not in ("", known.root_token):
        raise ConfigError(f"{options.persist}: was made with another root token; leave -dev-root-token-id out")
    await core.seal.unseal(known.unseal_key)
    return known


def _keep(keys: DevKeys, folder: Path) -> None:
    _write_private(folder / _KEYS_FILE, {"unseal_key": keys.unseal_key, "root_token": keys.root_token})
    (folder / _BEGUN_FILE).unlink()


def clear_unfinished(folder: Path) -> None:
    """Remove what a first start left that was cut off before its keys were kept. Before the store is opened."""
    unfinished = [f"{_BEGUN_FILE}.*.new", f"{_KEYS_FILE}.*.new"]
    begun = folder / _BEGUN_FILE
    if begun.exists() and not (folder / _KEYS_FILE).exists():
        unfinished.append(f"{_STORE_FILE}*")
    for pattern in unfinished:
        for file in folder.glob(pattern):
            file.unlink()
    begun.unlink(missing_ok=True)


def read_keys(folder: Path) -> DevKeys | None:
    """The keys that an earlier run kept in ``folder``. Raises ConfigError when others can read them."""
    path = folder / _KEYS_FILE
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others can read it; run: chmod 600 {path}")
        found = orjson.loads(path.read_bytes())
        return DevKeys(str(found["unseal_key"]), str(found["root_token"]))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        raise ConfigError(f"{path}: is damaged or cannot be read; use another directory") from None


def _write_private(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON that only the owner can read, whole or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def write_cluster_json(path: Path, url: str, ca_file: Path | None, keys: DevKeys | None) -> None:
    """What test harnesses want to know about the server: ``-dev-cluster-json``."""
    _write_private(
        path,
        {
            "nodes": [{"api_address": url}],
            "ca_cert_path": str(ca_file or ""),
            "root_token": keys.root_token if keys else "",
        },
    )


def dev_banner(url: str, options: DevOptions, keys: DevKeys | None, *, in_memory: bool) -> str:
    """What a person needs to start using the server. Shows the keys: that is its purpose in dev mode."""
    place = "in memory only" if in_memory else "on disk"
    lines = [
        "WARNING! This is a dev server. It opens itself with a single unseal key and keeps",
        f"its data {place}. Do not give it secrets that matter.",
        "",
        "Clients find it with:",
        "",
        f"    $ export VAULT_ADDR='{url}'",
    ]
    if options.ca_file:
        lines.append(f"    $ export VAULT_CACERT='{options.ca_file}'")
    if keys:
        lines += ["", f"Unseal Key: {keys.unseal_key}", f"Root Token: {keys.root_token}"]
    return "\n".join([*lines, "", "Development mode should NOT be used in production installations!", ""])


def write_certificates(folder: Path, address: str, extra_names: tuple[str, ...] = ()) -> None:
    """A new CA and a server certificate for ``address`` and this machine, as Vault's ``-dev-tls`` files.

    The CA's key is not kept. Raises ConfigError when ``folder`` cannot be written.
    """
    import datetime
    import ipaddress
    import socket

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def alternative(text: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(text))
        except ValueError:
            return x509.DNSName(text)

    def builder(subject: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Caveau dev CA"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=365))
        )

    def usage(*, ca: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        builder("Caveau dev CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(ca=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    host, _ = split_address(address)
    names = dict.fromkeys(filter(None, ("localhost", "127.0.0.1", "::1", socket.gethostname(), host, *extra_names)))
    cert = (
        builder("localhost", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([alternative(each) for each in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content, mode in (
            (CA_FILE, ca.public_bytes(pem), 0o644),
            (CERT_FILE, cert.public_bytes(pem), 0o644),
            (KEY_FILE, private, 0o600),
        ):
            path = folder / file
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
    except OSError as error:
        raise ConfigError(f"{folder}: certificates cannot be written there: {error.strerror}") from None

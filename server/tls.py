"""The TLS side of a listener: its context, from the files that its configuration names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from .config import ConfigError, ListenerConfig

_VERSIONS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}

# Go's names, which Vault's configuration uses, and OpenSSL's. TLS 1.3 suites are always on, as in Go.
_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
_SUITES = {
    f"TLS_{go}{name}": openssl + suite
    for go, openssl in (("ECDHE_RSA_WITH_", "ECDHE-RSA-"), ("ECDHE_ECDSA_WITH_", "ECDHE-ECDSA-"), ("RSA_WITH_", ""))
    for name, suite in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("AES_128_CBC_SHA256", "AES128-SHA256"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
    )
    if openssl or "CHACHA20" not in name
}


def server_context(listener: ListenerConfig) -> ssl.SSLContext:
    """A fresh context from the listener's files. Raises ConfigError that names the file and the remedy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[listener.tls_min_version]
    context.maximum_version = _VERSIONS[listener.tls_max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if listener.tls_cipher_suites:
        _set_ciphers(context, listener)
    _load_chain(context, listener)
    _ask_for_client_certificates(context, listener)
    return context


def _wrong(listener: ListenerConfig, message: str) -> ConfigError:
    return ConfigError(f"{listener.origin}: {message}" if listener.origin else message)


def _readable(listener: ListenerConfig, name: str) -> str:
    path: str = getattr(listener, name)
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise _wrong(listener, f"{name}: {path} cannot be read: {error.strerror}") from None
    return path


def _load_chain(context: ssl.SSLContext, listener: ListenerConfig) -> None:
    certificate, key = _readable(listener, "tls_cert_file"), _readable(listener, "tls_key_file")

    def encrypted() -> NoReturn:
        raise _wrong(
            listener, f"tls_key_file: {key} is encrypted; give a key without a passphrase, readable by the server only"
        )

    try:
        context.load_cert_chain(certificate, key, password=encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"tls_key_file: {key} is not the key of the certificate in {certificate}"
        else:
            files = f"tls_cert_file {certificate} with tls_key_file {key}"
            message = f"{files}: not a PEM certificate with its key ({error.reason or error})"
        raise _wrong(listener, message) from None


def _ask_for_client_certificates(context: ssl.SSLContext, listener: ListenerConfig) -> None:
    """OpenSSL verifies what it asks for, so certificates are asked for only where a CA says which are good."""
    if listener.tls_disable_client_certs:
        return
    if listener.tls_client_ca_file:
        path = _readable(listener, "tls_client_ca_file")
        try:
            context.load_verify_locations(path)
        except ssl.SSLError:
            raise _wrong(listener, f"tls_client_ca_file: {path} holds no PEM certificates") from None
        context.verify_mode = ssl.CERT_OPTIONAL
    if listener.tls_require_and_verify_client_cert:
        if not listener.tls_client_ca_file:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED


def _set_ciphers(context: ssl.SSLContext, listener: ListenerConfig) -> None:
    names = [name.upper() for name in listener.tls_cipher_suites]
    if unknown := [name for name in names if name not in _SUITES and name not in _TLS13]:
        known = ", ".join(sorted((*_TLS13, *_SUITES)))
        raise _wrong(listener, f"tls_cipher_suites: {unknown[0][:64]} is not one of {known}")
    chosen = [_SUITES[name] for name in names if name in _SUITES]
    if not chosen and listener.tls_min_version == "tls12":
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # nothing is left that TLS 1.2 may use
    elif chosen:
        context.set_ciphers(":".join(chosen))

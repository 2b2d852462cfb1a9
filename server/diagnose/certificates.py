"""The TLS files of a listener: do they fit together, and how long are they good?"""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from ..config import ConfigError, ListenerConfig
from ..tls import server_context
from .report import ERROR, WARNING, Check

_SOON = timedelta(days=30)


def check(found: Check, listener: ListenerConfig, now: datetime | None = None) -> None:
    """Fill ``found``."""
    try:
        server_context(listener)
    except ConfigError as error:
        found.status, found.message = ERROR, str(error)
        return
    now = now or datetime.now(UTC)
    try:
        chain = x509.load_pem_x509_certificates(Path(listener.tls_cert_file).read_bytes())
    except ValueError as error:  # OpenSSL has taken it, this library is stricter
        found.status, found.message = WARNING, f"{listener.tls_cert_file} is not a well-formed certificate: {error}"
        return
    for number, certificate in enumerate(chain):
        _validity(found, certificate, now, "Certificate" if number == 0 else f"Issuer {number} in the chain")
    if not _names(chain[0]):
        advice = "Clients compare the name they dial with subjectAltName, and with nothing else (RFC 9525)."
        found.add("Check Names", WARNING, "The certificate has no subjectAltName.", advice)
    mode = Path(listener.tls_key_file).stat().st_mode
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        message = f"{listener.tls_key_file} is open to more than the server: {stat.filemode(mode)}."
        found.add("Check Key Permissions", WARNING, message, f"Run: chmod 600 {listener.tls_key_file}")


def _validity(found: Check, certificate: x509.Certificate, now: datetime, what: str) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    subject = certificate.subject.rfc4514_string() or "without a subject"
    if now < begin:
        found.add("Check Validity", ERROR, f"{what} {subject} is not valid before {begin:%Y-%m-%d %H:%M} UTC.")
    elif now > end:
        found.add("Check Validity", ERROR, f"{what} {subject} has expired on {end:%Y-%m-%d %H:%M} UTC.", "Renew it.")
    elif end - now < _SOON:
        found.add("Check Validity", WARNING, f"{what} {subject} expires in {(end - now).days} days.", "Renew it.")
    else:
        found.add("Check Validity", message=f"{what} {subject} is valid until {end:%Y-%m-%d}.")


def _names(certificate: x509.Certificate) -> bool:
    try:
        return bool(list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value))
    except x509.ExtensionNotFound:
        return False

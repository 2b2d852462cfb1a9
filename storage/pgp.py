"""Shares and root tokens encrypted to people's OpenPGP keys (RFC 9580), so that only they read them.

pysequoia does the work, from the extra ``caveau[pgp]``; it is imported when a key is first given.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..framework.errors import InvalidRequest

if TYPE_CHECKING:
    from pysequoia import Cert

_MAX_KEY = 1 << 20


class PgpKey:
    """A public key that can encrypt. ``fingerprint``: of the primary key, lower-case hex."""

    def __init__(self, text: str) -> None:
        """``text``: the key in base64 of its binary form, as Vault's API has it, or armoured.

        Raises InvalidRequest when it is no OpenPGP key, or not one to encrypt to (expired, revoked,
        only for signing), so that nobody is left with a share that cannot be delivered.
        """
        if text.startswith("keybase:"):
            raise InvalidRequest(
                "keybase: names are resolved by the client; give the key itself, in base64 or armoured"
            )
        try:
            from pysequoia import Cert
        except ImportError:
            raise InvalidRequest(
                "PGP keys need an optional part of the server: install caveau[pgp], then try again"
            ) from None
        if len(text) > _MAX_KEY:
            raise InvalidRequest("error parsing given PGP key: larger than 1 MiB")
        try:
            raw = text.encode() if "-----BEGIN PGP" in text else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("error decoding given PGP key: illegal base64 data") from None
        try:
            self._cert: Cert = Cert.from_bytes(raw)
        except Exception as error:  # pysequoia raises what its Rust side gives
            raise InvalidRequest(f"error parsing given PGP key: {_reason(error)}") from None
        if self._cert.is_revoked:
            raise InvalidRequest("error setting up encryption for PGP message: the key is revoked")
        self.fingerprint: str = self._cert.fingerprint.lower()
        self.encrypt(b"")

    def encrypt(self, plaintext: bytes) -> bytes:
        """A binary OpenPGP message that only the key's owner reads."""
        import pysequoia

        try:
            message: bytes = pysequoia.encrypt(plaintext, recipients=[self._cert], armor=False)
        except Exception as error:
            raise InvalidRequest(f"error setting up encryption for PGP message: {_reason(error)}") from None
        return message


def _reason(error: Exception) -> str:
    """The first line: the rest is a backtrace of the Rust side."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def parse_keys(texts: Sequence[str]) -> list[PgpKey]:
    return [PgpKey(text) for text in texts]

"""Accessors of tokens: each is the key of its token, enciphered, so that either tells the other and nothing is stored.

Whoever sees an accessor learns nothing of the key, and nobody else can make one.
"""

from __future__ import annotations

import hashlib
import re

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_SIZE = 16
"""Bytes of a key, which are one block of AES."""
_DIGITS = 2 * KEY_SIZE
_ACCESSOR = re.compile(r"[0-9a-f]{32}(\..*)?", re.ASCII | re.DOTALL)


class Accessors:
    """Those of one server. ``salt``: its secret, of 64 bytes at most."""

    def __init__(self, salt: bytes) -> None:
        key = hashlib.blake2b(key=salt, person=b"token accessors", digest_size=32).digest()
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (single blocks, none of them twice)
        self._encrypt, self._decrypt = cipher.encryptor().update, cipher.decryptor().update

    def of(self, key: str) -> str:
        """32 hex digits, and what a key (32 others) has at its end: ``.<id>`` of a namespace."""
        return self._encrypt(bytes.fromhex(key[:_DIGITS])).hex() + key[_DIGITS:]

    def key(self, accessor: str) -> str:
        """The key that an accessor is of, whether there is such a token or not; empty when it has not the form."""
        if not _ACCESSOR.fullmatch(accessor):
            return ""
        return self._decrypt(bytes.fromhex(accessor[:_DIGITS])).hex() + accessor[_DIGITS:]

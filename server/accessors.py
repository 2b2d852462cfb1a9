"""Accessors of tokens: each is the key of its token, enciphered, so that either tells the other and nothing is stored.

Whoever sees an accessor learns nothing of the key, and nobody else can make one.
"""

from __future__ import annotations

import hashlib
import string

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LETTERS = string.ascii_letters + string.digits
KEY_SIZE = 16
"""Bytes of a key, which are one block of AES."""
_PAIRS = tuple(first + second for first in LETTERS for second in LETTERS)
_LENGTH = 24
_PRIME = 3833  # below 62 * 62: the last two letters are the rest of a division by it, so that slips are found


class Accessors:
    """Those of one server. ``salt``: its secret, of 64 bytes at most."""

    def __init__(self, salt: bytes) -> None:
        key = hashlib.blake2b(key=salt, person=b"token accessors", digest_size=32).digest()
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (single blocks, none of them twice)
        self._encrypt, self._decrypt = cipher.encryptor().update, cipher.decryptor().update

    def of(self, key: str) -> str:
        """24 letters and digits, and what a key (32 hex digits) has at its end: ``.<id>`` of a namespace."""
        number = int.from_bytes(self._encrypt(bytes.fromhex(key[: 2 * KEY_SIZE])), "big")
        text = _PAIRS[number % _PRIME]
        for _ in range(_LENGTH // 2 - 1):
            number, pair = divmod(number, len(_PAIRS))
            text = _PAIRS[pair] + text
        return text + key[2 * KEY_SIZE :]

    def key(self, accessor: str) -> str:
        """The key that an accessor is of, whether there is such a token or not; empty when it is of none."""
        number = 0
        try:
            for letter in accessor[: _LENGTH - 2]:
                number = number * len(LETTERS) + LETTERS.index(letter)
            block = number.to_bytes(KEY_SIZE, "big")
        except (ValueError, OverflowError):
            return ""
        key = self._decrypt(block).hex() + accessor[_LENGTH:]
        return key if self.of(key) == accessor and accessor[_LENGTH : _LENGTH + 1] in ("", ".") else ""

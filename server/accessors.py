"""Accessors of tokens: each is the key of its token, enciphered, so that either tells the other and nothing is stored.

Whoever sees an accessor learns nothing of the key, and nobody else can make one.
"""

from __future__ import annotations

import hashlib
import string
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LETTERS = string.ascii_letters + string.digits
KEY_SIZE = 16
"""Bytes of a key, which are one block of AES."""
_HALVES = struct.Struct(">QQ")
_DIGITS = 11  # of each half, in base 62
_PAIRS = tuple(first + second for first in LETTERS for second in LETTERS)
_LENGTH = 2 * _DIGITS + 2
_PRIME = 3833  # below 62 * 62: the last two letters are the rest of a division by it, so that slips are found


class Accessors:
    """Those of one server. ``salt``: its secret, of 64 bytes at most."""

    def __init__(self, salt: bytes) -> None:
        key = hashlib.blake2b(key=salt, person=b"token accessors", digest_size=32).digest()
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (single blocks, none of them twice)
        self._encrypt, self._decrypt = cipher.encryptor().update, cipher.decryptor().update

    def of(self, key: str) -> str:
        """24 letters and digits, and what a key (32 hex digits) has at its end: ``.<id>`` of a namespace."""
        first, second = _HALVES.unpack(self._encrypt(bytes.fromhex(key[: 2 * KEY_SIZE])))
        return f"{_text(first)}{_text(second)}{_PAIRS[(first + second) % _PRIME]}{key[2 * KEY_SIZE :]}"

    def key(self, accessor: str) -> str:
        """The key that an accessor is of, whether there is such a token or not; empty when it is of none."""
        try:
            block = _HALVES.pack(_number(accessor[:_DIGITS]), _number(accessor[_DIGITS : 2 * _DIGITS]))
        except (ValueError, struct.error):
            return ""
        key = self._decrypt(block).hex() + accessor[_LENGTH:]
        return key if self.of(key) == accessor and accessor[_LENGTH : _LENGTH + 1] in ("", ".") else ""


def _text(half: int) -> str:
    number, e = divmod(half, 3844)  # 62 * 62; written out, for every login takes two of these
    number, d = divmod(number, 3844)
    number, c = divmod(number, 3844)
    number, b = divmod(number, 3844)
    number, a = divmod(number, 3844)
    return f"{LETTERS[number]}{_PAIRS[a]}{_PAIRS[b]}{_PAIRS[c]}{_PAIRS[d]}{_PAIRS[e]}"


def _number(text: str) -> int:
    number = 0
    for letter in text:
        number = number * len(LETTERS) + LETTERS.index(letter)
    return number

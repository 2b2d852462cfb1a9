"""The seal whose key people hold in shares: the default.

Shares split a seal key, and the seal key wraps the root key. New shares therefore need a new seal key
and one small entry, and no change to anything the barrier wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...framework.errors import InvalidRequest, Sealed, StoreError
from . import WrongSealKey

KEY_SIZE = 32

_VERSION = b"\x01"
_CONTEXT = b"caveau seal shamir" + _VERSION


class ShamirSeal:
    """AES-256-GCM under a key given at run time. Wrapped form: version (1), nonce (12), ciphertext."""

    type: ClassVar[str] = "shamir"

    def __init__(self, key: bytes | None = None) -> None:
        """Raises InvalidRequest for a key of the wrong size; without one, it cannot wrap."""
        if key is not None and len(key) != KEY_SIZE:
            raise InvalidRequest(f"an unseal key has {KEY_SIZE} bytes, not {len(key)}")
        self._key = None if key is None else AESGCM(key)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        if config:
            raise InvalidRequest(f'seal "shamir" has no setting {", ".join(sorted(config))}')
        return cls()

    async def wrap(self, plaintext: bytes) -> bytes:
        nonce = os.urandom(12)
        return _VERSION + nonce + self._opened().encrypt(nonce, plaintext, _CONTEXT)

    async def unwrap(self, wrapped: bytes) -> bytes:
        if wrapped[:1] != _VERSION:
            raise StoreError("the wrapped root key has a form of a newer Caveau, or is damaged")
        try:
            return self._opened().decrypt(wrapped[1:13], wrapped[13:], _CONTEXT)
        except (InvalidTag, ValueError):
            raise WrongSealKey from None

    async def close(self) -> None:
        self._key = None

    def _opened(self) -> AESGCM:
        if self._key is None:
            raise Sealed
        return self._key

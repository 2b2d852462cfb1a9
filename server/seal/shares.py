"""Shares as people and the API handle them: dealt out, encoded, and collected again."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...framework.errors import InvalidRequest
from ...storage import shamir
from ...storage.pgp import PgpKey

MIN_SIZE = 16
MAX_SIZE = 33
"""Bytes of a share: 32 when there is only one (the key itself), 33 otherwise."""


@dataclass(frozen=True, slots=True)
class ShareConfig:
    """How many shares there are, and how many are needed."""

    shares: int
    threshold: int

    def check(self) -> None:
        """Raises InvalidRequest in Vault's words."""
        if self.shares < 1:
            raise InvalidRequest("shares must be at least one")
        if self.threshold < 1:
            raise InvalidRequest("threshold must be at least one")
        if self.threshold > self.shares:
            raise InvalidRequest("threshold cannot be larger than shares")
        if self.shares > 1 and self.threshold == 1:
            raise InvalidRequest("threshold must be greater than one for multiple shares")
        if self.shares > shamir.MAX_SHARES:
            raise InvalidRequest("shares must be less than 256")


@dataclass(frozen=True, slots=True)
class Dealt:
    """The shares of a new key, as the API answers them; encrypted if there are PGP keys."""

    keys: list[str]
    """Hex."""
    keys_base64: list[str]


def deal(secret: bytes, config: ShareConfig, pgp_keys: Sequence[PgpKey], random_bytes: Callable[[int], bytes]) -> Dealt:
    """One share alone is the secret itself. PGP messages hold the share in hex, as Vault's do."""
    parts = [secret]
    if config.shares > 1:
        parts = shamir.split(secret, config.shares, config.threshold, random_bytes)
    if pgp_keys:
        parts = [key.encrypt(part.hex().encode()) for key, part in zip(pgp_keys, parts, strict=True)]
    return Dealt([part.hex() for part in parts], [base64.b64encode(part).decode() for part in parts])


def decode_share(text: str) -> bytes:
    """A share in hex or base64; raises InvalidRequest."""
    try:
        return binascii.unhexlify(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidRequest("'key' must be a valid hex or base64 string") from None


def check_size(share: bytes) -> None:
    if len(share) < MIN_SIZE:
        raise InvalidRequest(f"key is shorter than minimum {MIN_SIZE} bytes")
    if len(share) > MAX_SIZE:
        raise InvalidRequest(f"key is longer than maximum {MAX_SIZE} bytes")


class Collector:
    """The shares given so far in one attempt."""

    def __init__(self) -> None:
        self._shares: list[bytes] = []

    @property
    def progress(self) -> int:
        return len(self._shares)

    def add(self, share: bytes) -> bool:
        """False, and nothing changes, if it was given before."""
        if any(hmac.compare_digest(share, known) for known in self._shares):
            return False
        self._shares.append(share)
        return True

    def clear(self) -> None:
        self._shares = []

    def combine(self) -> bytes:
        """What the shares give together; they are forgotten. Raises InvalidRequest."""
        shares, self._shares = self._shares, []
        return shares[0] if len(shares) == 1 else shamir.combine(shares)


def check_nonce(given: str, expected: str, operation: str) -> None:
    """Raises InvalidRequest. A nonce is no secret: it keeps shares from reaching an operation that
    somebody else started."""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise InvalidRequest(f'incorrect nonce supplied; nonce for {operation} is "{expected}"')

"""Seals: what protects the root key at rest. Built-in ones, found in the entry-point group
``caveau.seals``, are a module each; another package adds its own there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

from ...framework.errors import StoreError


class WrongSealKey(StoreError):
    """The seal's key did not wrap this, or what it wrapped was changed."""

    def __init__(self) -> None:
        super().__init__("failed to decrypt keys from storage: cipher: message authentication failed")


class Seal(Protocol):
    """Wraps the root key, so that the store can hold it.

    A seal that wraps by itself (a key file, a cloud KMS, another server's transit engine) opens the
    server at start, and people hold *recovery* shares that only authorise operations. ``shamir`` is
    the seal whose key is those people's shares: ``storage/seals/shamir.py``.

    Its entry point names the class; ``from_config`` makes one from its block in the configuration.
    """

    type: ClassVar[str]
    """As in the configuration and in ``sys/seal-status``: ``shamir``, ``static``, ``transit``, ..."""

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Raises InvalidRequest naming the setting that is missing, wrong or unknown."""
        ...

    async def wrap(self, plaintext: bytes) -> bytes:
        """``plaintext`` (32 bytes as a rule) for storage, authenticated, with what ``unwrap`` needs to
        know (key id, version) inside. Raises StoreError when the seal cannot be reached."""
        ...

    async def unwrap(self, wrapped: bytes) -> bytes:
        """What ``wrap`` was given. Raises WrongSealKey when the key is not the one that wrapped it,
        StoreError when the seal cannot be reached."""
        ...

    async def close(self) -> None:
        """Let go of connections and keys."""
        ...

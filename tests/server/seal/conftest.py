"""A seal over an in-memory store, with the rest of the server reduced to what it was asked."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import pysequoia
import pytest
from caveau.framework.clock import FakeClock
from caveau.framework.storage import Physical
from caveau.server.seal import GenerateRoot, Hooks, Rekey, SealCore, initialize
from caveau.storage.barrier import Barrier
from caveau.storage.inmem import InmemStore
from caveau.storage.seals import Seal, WrongSealKey
from caveau.storage.seals.shamir import ShamirSeal
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pysequoia import Tsk


class SelfOpeningSeal:
    """A seal with its key at hand, as a key file or a cloud KMS is."""

    type: ClassVar[str] = "static"

    def __init__(self) -> None:
        self._key = AESGCM(b"k" * 32)
        self.reachable = True

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        return cls()

    async def wrap(self, plaintext: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._key.encrypt(nonce, plaintext, None)

    async def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return self._key.decrypt(wrapped[:12], wrapped[12:], None)
        except InvalidTag:
            raise WrongSealKey from None

    async def close(self) -> None: ...


@dataclass
class Node:
    """One server process: its seal, and what the rest of the server was told."""

    store: Physical
    seal: Seal
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    failing: str = ""

    def __post_init__(self) -> None:
        hooks = Hooks(
            on_unseal=self._on_unseal,
            on_seal=self._on_seal,
            create_root_token=self._create,
            revoke_root_token=self._revoke,
            cluster=lambda: {"cluster_name": "vault-cluster-1", "cluster_id": "u-u-i-d"},
        )
        self.core = SealCore(
            self.store,
            self.seal,
            hooks,
            clock=self.clock,
            version="0.1.0",
            build_date="2026-11-24T00:00:00Z",
            storage_type="inmem",
        )
        self.rekey = Rekey(self.core, "barrier")
        self.rekey_recovery = Rekey(self.core, "recovery")
        self.root = GenerateRoot(self.core)

    async def _on_unseal(self, barrier: Barrier) -> None:
        assert not barrier.sealed
        self.told.append("unseal")
        await self.store.commit({"mounts": barrier.encrypt("mounts", b"x")})
        if self.failing == "unseal":
            raise RuntimeError("mounts are broken")

    async def _on_seal(self) -> None:
        assert not self.core.sealed, "the barrier is still open"
        self.told.append("seal")
        if self.failing == "seal":
            raise RuntimeError("flush failed")

    async def _create(self) -> str:
        if self.failing == "token":
            raise RuntimeError("no token today")
        token = f"hvs.{len(self.tokens):024}"
        self.tokens.append(token)
        return token

    async def _revoke(self, token: str) -> None:
        self.revoked.append(token)

    async def init(self, shares: int = 3, threshold: int = 2, **more: Any) -> list[str]:
        """Initialize; gives the shares."""
        if self.core.by_shares:
            answer = await initialize(self.core, secret_shares=shares, secret_threshold=threshold, **more)
            return list(answer["keys"])
        answer = await initialize(self.core, recovery_shares=shares, recovery_threshold=threshold, **more)
        return list(answer["recovery_keys"])

    async def open(self, shares: int = 3, threshold: int = 2) -> list[str]:
        """Initialize and unseal; gives the shares."""
        keys = await self.init(shares, threshold)
        for key in keys[:threshold]:
            await self.core.unseal(key)
        assert not self.core.sealed
        return keys


@pytest.fixture
def node() -> Node:
    return Node(InmemStore(), ShamirSeal())


@pytest.fixture
def auto_node() -> Node:
    return Node(InmemStore(), SelfOpeningSeal())


class Person:
    """Somebody with a PGP key: what the server is given, and what only they can do."""

    def __init__(self, name: str) -> None:
        self._secret = Tsk.generate(name)
        cert = self._secret.extract_certificate()
        self.fingerprint = cert.fingerprint
        self.public = base64.b64encode(bytes(cert)).decode()

    def read(self, message: bytes) -> str:
        plaintext = pysequoia.decrypt(message, self._secret.decryptor()).bytes
        assert plaintext is not None
        return plaintext.decode()


@pytest.fixture(scope="session")
def alice() -> Person:
    return Person("alice@x.y")


@pytest.fixture(scope="session")
def bob() -> Person:
    return Person("bob@x.y")

"""Whether the server is open: the seal, the barrier, and the shares that open it.

What is stored, beside what the barrier keeps:

- ``core/seal-config``: plain JSON, the type of seal and how many shares its people hold;
- ``core/stored-root``: the root key, wrapped by the seal;
- ``core/shamir-key``: the seal key, through the barrier, so that an open server can replace the root
  key without asking for shares (``shamir`` only);
- ``core/recovery-key``: what the recovery shares give together, wrapped by the seal (others only).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ...framework.clock import Clock
from ...framework.errors import InvalidRequest, StoreError
from ...framework.storage import Physical
from ...storage.barrier import Barrier
from ...storage.keyring import KEY_SIZE
from ...storage.seals import Seal, WrongSealKey
from ...storage.seals.shamir import ShamirSeal
from .shares import Collector, ShareConfig, check_size, decode_share

log = logging.getLogger(__name__)

SEAL_CONFIG = "core/seal-config"
STORED_ROOT = "core/stored-root"
SHAMIR_KEY = "core/shamir-key"
RECOVERY_KEY = "core/recovery-key"


class WrongShares(InvalidRequest):
    """The shares combine, and what they give is not the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the rest of the server does when the seal opens or closes, and for new root tokens.

    All but ``cluster`` run with ``SealCore.lock`` held, so none may wait for an operation of the seal.
    """

    on_unseal: Callable[[Barrier], Awaitable[None]]
    """Set everything up behind the open barrier. If it raises, the server is sealed again."""
    on_seal: Callable[[], Awaitable[None]]
    """Take everything down; the barrier is still open. Also after a failed ``on_unseal``."""
    create_root_token: Callable[[], Awaitable[str]]
    revoke_root_token: Callable[[str], Awaitable[None]]
    """For a token that could not be handed over."""
    cluster: Callable[[], Mapping[str, str]]
    """``cluster_name`` and ``cluster_id``; asked only while open."""
    on_initialize: Callable[[], Awaitable[None]] | None = None
    """Make the store ready for its first entry."""


class Invited(Protocol):
    """This server is to join a cluster, whose key shares people give."""

    config: ShareConfig

    async def accept(self, secret: bytes) -> None:
        """The shares gave this; raises WrongShares. The server opens when the cluster's state is here."""
        ...


class SealCore:
    """The one place that opens and closes the barrier.

    Answers are plain dicts in the shape of the API's JSON. ``lock`` serialises what changes the
    seal: unsealing, sealing, initialization, rekeying and the generation of root tokens.
    """

    def __init__(
        self,
        physical: Physical,
        seal: Seal,
        hooks: Hooks,
        *,
        clock: Clock,
        version: str,
        build_date: str,
        storage_type: str,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.physical = physical
        self.barrier = Barrier(physical, random_bytes)
        self.mechanism = seal
        self.hooks = hooks
        self.clock = clock
        self.random_bytes = random_bytes
        self.lock = asyncio.Lock()
        self._build = {"version": version, "build_date": build_date}
        self._storage_type = storage_type
        self._collector = Collector()
        self._nonce = ""
        self._at_seal: list[Callable[[], None]] = []
        self.invitation: Invited | None = None  # while there is nothing stored here

    @property
    def sealed(self) -> bool:
        return self.barrier.sealed

    @property
    def by_shares(self) -> bool:
        """Whether people's shares are the seal key, rather than recovery shares."""
        return isinstance(self.mechanism, ShamirSeal)

    def at_seal(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` whenever the server is sealed."""
        self._at_seal.append(forget)

    async def status(self) -> dict[str, Any]:
        """``sys/seal-status``."""
        config = await self.share_config()
        answer: dict[str, Any] = {
            "type": self.mechanism.type,
            "initialized": config is not None,
            "sealed": self.sealed,
            "t": config.threshold if config else 0,
            "n": config.shares if config else 0,
            "progress": self._collector.progress,
            "nonce": self._nonce,
            **self._build,
            "migration": False,
        }
        if not self.sealed:
            answer |= self.hooks.cluster()
        answer["recovery_seal"] = not self.by_shares
        if not self.by_shares:
            answer["recovery_seal_type"] = ShamirSeal.type
        answer["storage_type"] = self._storage_type
        return answer

    async def unseal(self, key: str = "", reset: bool = False, migrate: bool = False) -> dict[str, Any]:
        """``sys/unseal``: one more share, or ``reset`` to forget those given; answers the status.

        Raises InvalidRequest for a share that cannot be one, and when the last one needed shows that
        they do not open the seal: then all are forgotten.
        """
        if not key and not reset:
            raise InvalidRequest("'key' must be specified in request body as JSON, or 'reset' set to true")
        async with self.lock:
            if reset:
                if not self.sealed:
                    raise InvalidRequest("vault is unsealed")
                self._forget()
                return await self.status()
            share = decode_share(key)
            if migrate:
                raise InvalidRequest("can't perform a seal migration, no migration seal found")
            config = await self.share_config()
            if config is None:
                raise InvalidRequest("Vault is not initialized")
            if self.sealed:
                if self.invitation is None:
                    await self._check_type()
                await self._give(share, config)
            return await self.status()

    async def auto_unseal(self) -> bool:
        """Open without people, if the seal can and the store is initialized; whether it is open.

        Raises StoreError when the seal cannot be reached: worth trying again.
        """
        async with self.lock:
            if self.sealed and not self.by_shares and await self.share_config() is not None:
                await self._check_type()
                await self._open(await self._stored_root())
            return not self.sealed

    async def open_with(self, secret: bytes) -> None:
        """Open with what shares gave before the store had its first entry. Raises WrongShares."""
        async with self.lock:
            if self.sealed:
                await self._open(await self.root_key(secret))

    async def initialized(self) -> bool:
        """Whether there is a keyring, or will be one without anybody making it here."""
        return self.invitation is not None or await self.barrier.initialized()

    async def seal(self) -> None:
        """``sys/seal``; nothing happens when already sealed."""
        async with self.lock:
            await self.close_barrier()

    async def share_config(self) -> ShareConfig | None:
        """How many shares people hold (recovery shares, if the seal opens by itself; 0 of 0 if they
        got none). None before initialization."""
        stored = await self.physical.get(SEAL_CONFIG)
        if stored is None:
            return self.invitation.config if self.invitation is not None else None
        config = orjson.loads(stored)
        return ShareConfig(config["shares"], config["threshold"])

    async def required_config(self) -> ShareConfig:
        config = await self.share_config()
        assert config is not None, "an open server is initialized"
        return config

    def dump_config(self, config: ShareConfig) -> bytes:
        return orjson.dumps(
            {
                "version": 1,
                "type": self.mechanism.type,
                "shares": config.shares,
                "threshold": config.threshold,
            }
        )

    async def root_key(self, secret: bytes) -> bytes:
        """The root key, on the authority of what the shares gave; raises WrongShares."""
        if self.by_shares:
            try:
                return await ShamirSeal(secret).unwrap(await self._required(STORED_ROOT))
            except (WrongSealKey, InvalidRequest) as error:
                raise WrongShares(f"invalid key: {error}") from None
        stored = await self.physical.get(RECOVERY_KEY)
        if stored is None:
            raise WrongShares("there is no recovery key")
        if not hmac.compare_digest(await self.mechanism.unwrap(stored), secret):
            raise WrongShares("recovery key does not match submitted values")
        return await self._stored_root()

    async def replace_root_key(self) -> None:
        """``sys/rotate/root``: a new root key; shares stay good."""
        if not self.by_shares:
            root_key = self.random_bytes(KEY_SIZE)
            await self.barrier.rekey(root_key, {STORED_ROOT: await self.mechanism.wrap(root_key)})
            return
        seal_key = self.barrier.decrypt(SHAMIR_KEY, await self._required(SHAMIR_KEY))
        await self.replace_seal_key(seal_key, await self.required_config(), {})

    async def replace_seal_key(self, seal_key: bytes, config: ShareConfig, entries: Mapping[str, bytes]) -> None:
        """A seal key with its shares, and a new root key, so that neither old shares nor an old root
        key open what is stored from now on. ``entries`` (plaintext) are stored with it."""
        root_key = self.random_bytes(KEY_SIZE)
        raw = {
            STORED_ROOT: await ShamirSeal(seal_key).wrap(root_key),
            SEAL_CONFIG: self.dump_config(config),
        }
        await self.barrier.rekey(root_key, raw, {**entries, SHAMIR_KEY: seal_key})

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self.random_bytes(16), version=4))

    async def close_barrier(self) -> None:
        """Seal, with ``lock`` held."""
        if self.sealed:
            return
        try:
            await self.hooks.on_seal()
        finally:
            self.barrier.seal()
            self._forget()
            self.abandon()

    def abandon(self) -> None:
        """Forget what people with key shares have begun, a rekeying or a new root token: another node may go on."""
        for forget in self._at_seal:
            forget()

    async def _check_type(self) -> None:
        stored = orjson.loads(await self._required(SEAL_CONFIG))["type"]
        if stored != self.mechanism.type:
            raise InvalidRequest(
                f"the store was initialized with seal {stored!r}, and the configuration names "
                f"{self.mechanism.type!r}: configure the former"
            )

    def _forget(self) -> None:
        self._collector.clear()
        self._nonce = ""

    async def _give(self, share: bytes, config: ShareConfig) -> None:
        try:
            check_size(share)
        except InvalidRequest as error:
            raise InvalidRequest(f"invalid key: {error}") from None
        if not self._nonce:
            self._nonce = self.uuid()
        self._collector.add(share)
        if self._collector.progress < config.threshold:
            return
        try:
            secret = self._collector.combine()
        except InvalidRequest as error:
            raise InvalidRequest(f"invalid key: failed to compute combined key: {error}") from None
        finally:
            self._forget()
        if self.invitation is not None:
            await self.invitation.accept(secret)
            return
        try:
            root_key = await self.root_key(secret)
        except WrongShares as error:
            if self.by_shares:
                raise WrongShares(f"unable to retrieve stored keys: {error}") from None
            raise WrongShares(f"invalid key: failed to verify recovery key: {error}") from None
        await self._open(root_key)

    async def _open(self, root_key: bytes) -> None:
        await self.barrier.unseal(root_key)
        try:
            await self.hooks.on_unseal(self.barrier)
        except BaseException:
            log.exception("setting up after unsealing failed; the server stays sealed")
            await self.close_barrier()
            raise

    async def _stored_root(self) -> bytes:
        return await self.mechanism.unwrap(await self._required(STORED_ROOT))

    async def _required(self, key: str) -> bytes:
        value = await self.physical.get(key)
        if value is None:
            raise StoreError(f"the store has lost {key!r}: restore it from a snapshot")
        return value

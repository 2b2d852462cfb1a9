"""The barrier: everything a physical store holds passes through here and becomes ciphertext.

An entry is::

    term (4 bytes, big-endian) | version (1 byte, 1) | nonce (12 random bytes) | AES-256-GCM output

The associated data is the first five bytes and the entry's key in UTF-8, so an entry moved to another
key, or whose header changed, does not decrypt. Term 0 stands for the root key, which encrypts only the
keyring; terms from 1 are the keyring's.

What it stores itself, beside the entries of its users:

- ``core/keyring``: the keyring, under the root key;
- ``core/root``: the root key, under the active term at the time it was made. A standby that is already
  unsealed reads the new root key from it after another node replaced it.

How the root key gets here is the seal's business: ``server/seal`` keeps it at ``core/stored-root``,
wrapped. What it has to write with a change of keyring it hands in here, so that each change is one
atomic batch: ``raw`` as it stands, ``entries`` as plaintext to encrypt.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..framework.errors import Sealed, StoreError
from ..framework.storage import Batch, Physical
from .keyring import Keyring, RotationConfig

KEYRING = "core/keyring"
ROOT = "core/root"

_VERSION = b"\x01"
_NONCE_SIZE = 12
_NOTHING: Mapping[str, bytes] = MappingProxyType({})
OVERHEAD = 5 + _NONCE_SIZE + 16
"""Bytes an entry is longer than its plaintext."""


class CorruptEntry(StoreError):
    """An entry that is not what the barrier wrote at that key: changed, moved or cut."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the entry at {key!r} failed authentication: it was changed outside the server")


class WrongRootKey(StoreError):
    """The keyring does not open with this root key."""

    def __init__(self) -> None:
        super().__init__("the root key does not open the keyring")


def encrypt_entry(aead: AESGCM, header: bytes, key: str, plaintext: bytes, nonce: bytes) -> bytes:
    return header + nonce + aead.encrypt(nonce, plaintext, header + key.encode())


def decrypt_entry(aead: AESGCM, header: bytes, key: str, entry: bytes) -> bytes:
    """The plaintext of ``entry``, which begins with ``header``; raises CorruptEntry."""
    try:
        return aead.decrypt(entry[5:17], entry[17:], header + key.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise CorruptEntry(key) from None


def _header(term: int) -> bytes:
    return term.to_bytes(4, "big") + _VERSION


class Barrier:
    """Encrypts and decrypts entries while unsealed; raises Sealed otherwise.

    Python cannot wipe memory: sealing drops every reference to a key, and nothing more.
    """

    def __init__(self, physical: Physical, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.physical = physical
        self._random_bytes = random_bytes
        self._keyring: Keyring | None = None
        self._aeads: dict[bytes, AESGCM] = {}  # by the header of the entries they open
        self._active: AESGCM | None = None
        self._active_header = b""
        self._encryptions = 0
        self._changing = asyncio.Lock()

    @property
    def sealed(self) -> bool:
        return self._active is None

    @property
    def keyring(self) -> Keyring:
        """Its ``encryptions`` are those last stored; ``encryptions`` here is up to date."""
        if self._keyring is None:
            raise Sealed
        return self._keyring

    @property
    def encryptions(self) -> int:
        """How many entries the active term has encrypted, at least: a crash forgets those since
        the count was last stored."""
        return self._encryptions

    def encrypt(self, key: str, plaintext: bytes) -> bytes:
        """The entry to store at ``key``."""
        active = self._active
        if active is None:
            raise Sealed
        self._encryptions += 1
        return encrypt_entry(active, self._active_header, key, plaintext, self._random_bytes(_NONCE_SIZE))

    def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]:
        """The entries to store for all of ``writes``, the deleted ones as they are.

        Their nonces come fresh from the system, in one call: nonces kept for later would be used twice should a
        virtual machine go on from a snapshot of its memory.
        """
        active = self._active
        if active is None:
            raise Sealed
        header = self._active_header
        nonces = self._random_bytes(_NONCE_SIZE * len(writes))
        batch: dict[str, bytes | None] = {}
        end = 0
        for key, value in writes.items():
            if value is None:
                batch[key] = None
                continue
            start, end = end, end + _NONCE_SIZE
            nonce = nonces[start:end]
            batch[key] = header + nonce + active.encrypt(nonce, value, header + key.encode())  # encrypt_entry, in place
        self._encryptions += end // _NONCE_SIZE
        return batch

    def decrypt(self, key: str, entry: bytes) -> bytes:
        """What was encrypted for ``key``; raises CorruptEntry if ``entry`` is not that."""
        header = entry[:5]
        aead = self._aeads.get(header)
        if aead is None:
            if self._active is None:
                raise Sealed
            raise CorruptEntry(key)
        return decrypt_entry(aead, header, key, entry)

    async def initialized(self) -> bool:
        return await self.physical.get(KEYRING) is not None

    async def initialize(
        self, root_key: bytes, now: float, raw: Batch = _NOTHING, entries: Mapping[str, bytes] = _NOTHING
    ) -> None:
        """Store a first keyring, and open. The store has none yet."""
        assert not await self.initialized(), "a keyring is made once"
        await self._store(Keyring.generate(root_key, now, self._random_bytes), raw, entries)

    async def unseal(self, root_key: bytes) -> None:
        """Open with the root key; raises WrongRootKey if it is not the one, and stays as it was."""
        async with self._changing:
            self._install(await self._read(root_key))

    def seal(self) -> None:
        self._keyring = self._active = None
        self._active_header = b""
        self._aeads = {}
        self._encryptions = 0

    async def reload(self) -> None:
        """Take over the keyring another node stored.

        Raises WrongRootKey when the root key was replaced more than once, or under a term that this
        node never saw: the node must then be sealed, and unsealed again.
        """
        async with self._changing:
            try:
                keyring = await self._read(self.keyring.root_key)
            except WrongRootKey:
                stored = await self.physical.get(ROOT)
                if stored is None:
                    raise
                try:
                    root_key = self.decrypt(ROOT, stored)
                except CorruptEntry:
                    raise WrongRootKey from None
                keyring = await self._read(root_key)
            if not self.sealed:  # sealed while the store was read: stay so
                self._install(keyring)

    async def rotate(self, now: float) -> int:
        """Replace the active term; gives the new one's number."""
        return (await self._change(lambda keyring: keyring.rotate(now, self._random_bytes))).active

    async def rekey(self, root_key: bytes, raw: Batch = _NOTHING, entries: Mapping[str, bytes] = _NOTHING) -> None:
        """Replace the root key. ``raw`` has to hold the new one, wrapped by the seal."""
        await self._change(lambda keyring: replace(keyring, root_key=root_key), raw, entries)

    async def configure_rotation(self, rotation: RotationConfig) -> None:
        await self._change(lambda keyring: replace(keyring, rotation=rotation))

    async def store_encryptions(self) -> None:
        """Store the count of encryptions, if it has grown."""
        if self._encryptions != self.keyring.active_term.encryptions:
            await self._change(lambda keyring: keyring)

    def rotation_due(self, now: float) -> bool:
        return self.keyring.rotation_due(now, self._encryptions)

    async def _read(self, root_key: bytes) -> Keyring:
        entry = await self.physical.get(KEYRING)
        if entry is None:
            raise StoreError("the store holds no keyring: it is not initialized")
        try:
            return Keyring.load(decrypt_entry(AESGCM(root_key), _header(0), KEYRING, entry))
        except CorruptEntry:
            raise WrongRootKey from None

    async def _change(
        self,
        change: Callable[[Keyring], Keyring],
        raw: Batch = _NOTHING,
        entries: Mapping[str, bytes] = _NOTHING,
    ) -> Keyring:
        """One change of keyring at a time, from the stored one, so that a node which missed a change
        cannot undo it; and none half done, even if the caller is cancelled."""

        async def run() -> Keyring:
            async with self._changing:
                current = await self._read(self.keyring.root_key)
                if current.active == self.keyring.active:
                    current = current.with_encryptions(max(current.active_term.encryptions, self._encryptions))
                keyring = change(current)
                await self._store(keyring, raw, entries)
                return keyring

        return await asyncio.shield(run())

    async def _store(self, keyring: Keyring, raw: Batch, entries: Mapping[str, bytes]) -> None:
        """Store ``keyring``, then use it: nothing is encrypted under a term that could be lost."""
        previous = self._keyring
        batch = {**raw, KEYRING: self._entry(0, keyring.root_key, KEYRING, keyring.dump())}
        if previous is None or previous.root_key != keyring.root_key:
            entries = {**entries, ROOT: keyring.root_key}
        for key, plaintext in entries.items():
            batch[key] = self._entry(keyring.active, keyring.active_term.key, key, plaintext)
        await self.physical.commit(batch)
        if self._keyring is previous:  # not sealed meanwhile
            self._install(keyring)

    def _entry(self, term: int, term_key: bytes, key: str, plaintext: bytes) -> bytes:
        return encrypt_entry(AESGCM(term_key), _header(term), key, plaintext, self._random_bytes(_NONCE_SIZE))

    def _install(self, keyring: Keyring) -> None:
        counted = keyring.active_term.encryptions
        same_term = self._keyring is not None and self._keyring.active == keyring.active
        self._encryptions = max(counted, self._encryptions) if same_term else counted
        self._keyring = keyring
        self._aeads = {_header(number): AESGCM(term.key) for number, term in keyring.terms.items()}
        self._active_header = _header(keyring.active)
        self._active = self._aeads[self._active_header]

"""What the barrier stores opens only where it was put, and only with the keyring that made it."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import Sealed, StoreError
from caveau.storage.barrier import (
    KEYRING,
    OVERHEAD,
    ROOT,
    Barrier,
    CorruptEntry,
    WrongRootKey,
    decrypt_entry,
    encrypt_entry,
)
from caveau.storage.inmem import InmemStore
from caveau.storage.keyring import MAX_OPERATIONS, RotationConfig
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

ROOT_KEY = bytes(range(32))
NOW = 1_750_000_000.0


@pytest.fixture
async def store() -> InmemStore:
    store = InmemStore()
    await store.open()
    return store


@pytest.fixture
async def barrier(store: InmemStore) -> Barrier:
    barrier = Barrier(store)
    await barrier.initialize(ROOT_KEY, NOW)
    return barrier


def test_gcm_spec_vector_through_the_entry_format() -> None:
    """The primitive is the one of NIST SP 800-38D: test case 16 of McGrew and Viega's GCM spec."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    assert AESGCM(key).encrypt(nonce, plaintext, aad).hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    header = b"\0\0\0\x07\x01"
    entry = encrypt_entry(AESGCM(key), header, "kv/é", plaintext, nonce)
    assert entry[:17] == header + nonce
    assert AESGCM(key).decrypt(nonce, entry[17:], header + "kv/é".encode()) == plaintext
    assert decrypt_entry(AESGCM(key), header, "kv/é", entry) == plaintext


async def test_layout(barrier: Barrier) -> None:
    entry = barrier.encrypt("a/b", b"hello")
    assert entry[:5] == b"\0\0\0\x01\x01"
    assert len(entry) == 5 + OVERHEAD
    assert entry[5:17] != barrier.encrypt("a/b", b"hello")[5:17]
    assert barrier.decrypt("a/b", entry) == b"hello"


async def test_every_changed_byte_is_noticed(barrier: Barrier) -> None:
    entry = barrier.encrypt("a/b", b"hello")
    for index in range(len(entry)):
        for flip in (0x01, 0x80, 0xFF):
            wrong = bytearray(entry)
            wrong[index] ^= flip
            with pytest.raises(CorruptEntry, match="'a/b' failed authentication"):
                barrier.decrypt("a/b", bytes(wrong))


async def test_header_of_another_term_is_noticed_even_with_its_key(barrier: Barrier) -> None:
    """A term number that exists does not help: it is authenticated too."""
    entry = barrier.encrypt("a", b"x")
    await barrier.rotate(NOW)
    with pytest.raises(CorruptEntry):
        barrier.decrypt("a", b"\0\0\0\x02" + entry[4:])


@pytest.mark.parametrize("size", [0, 3, 4, 5, 16, 17, 32])
async def test_cut_entries_are_noticed(barrier: Barrier, size: int) -> None:
    with pytest.raises(CorruptEntry):
        barrier.decrypt("a", barrier.encrypt("a", b"")[:size])


async def test_moved_entry_is_noticed(barrier: Barrier) -> None:
    entry = barrier.encrypt("a/b", b"hello")
    for other in ("a/c", "a", "a/b/", ""):
        with pytest.raises(CorruptEntry):
            barrier.decrypt(other, entry)


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.binary(max_size=200))
async def test_round_trip(key: str, plaintext: bytes) -> None:
    barrier = Barrier(InmemStore())
    await barrier.initialize(ROOT_KEY, NOW)
    assert barrier.decrypt(key, barrier.encrypt(key, plaintext)) == plaintext


async def test_sealed_refuses_and_unseal_opens(store: InmemStore, barrier: Barrier) -> None:
    entry = barrier.encrypt("a", b"x")
    barrier.seal()
    assert barrier.sealed
    for call in (lambda: barrier.encrypt("a", b"x"), lambda: barrier.decrypt("a", entry), lambda: barrier.keyring):
        with pytest.raises(Sealed):
            call()
    with pytest.raises(Sealed):
        await barrier.rotate(NOW)
    with pytest.raises(WrongRootKey):
        await barrier.unseal(bytes(32))
    assert barrier.sealed
    await barrier.unseal(ROOT_KEY)
    assert barrier.decrypt("a", entry) == b"x"


async def test_nothing_readable_reaches_the_store(store: InmemStore, barrier: Barrier) -> None:
    stored = {key: await store.get(key) for key in (KEYRING, ROOT)}
    for value in stored.values():
        assert value is not None
        for secret in (ROOT_KEY, barrier.keyring.active_term.key, b"root_key"):
            assert secret not in value


async def test_unseal_of_an_empty_store() -> None:
    barrier = Barrier(InmemStore())
    assert not await barrier.initialized()
    with pytest.raises(StoreError, match="not initialized"):
        await barrier.unseal(ROOT_KEY)


async def test_swapped_keyring_and_root_entries_do_not_open(store: InmemStore, barrier: Barrier) -> None:
    keyring, root = await store.get(KEYRING), await store.get(ROOT)
    await store.commit({KEYRING: root, ROOT: keyring})
    with pytest.raises(WrongRootKey):
        await Barrier(store).unseal(ROOT_KEY)


async def test_rotation_keeps_old_entries_readable(store: InmemStore, barrier: Barrier) -> None:
    old = barrier.encrypt("a", b"old")
    assert await barrier.rotate(NOW + 5) == 2
    assert barrier.encrypt("a", b"")[:4] == b"\0\0\0\x02"
    assert barrier.decrypt("a", old) == b"old"
    assert barrier.keyring.active_term.installed == NOW + 5
    again = Barrier(store)
    await again.unseal(ROOT_KEY)
    assert again.decrypt("a", old) == b"old"
    assert again.decrypt("a", barrier.encrypt("a", b"new")) == b"new"


async def test_rekey_replaces_the_root_key(store: InmemStore, barrier: Barrier) -> None:
    entry = barrier.encrypt("a", b"x")
    await barrier.rekey(b"n" * 32, {"core/stored-root": b"wrapped"}, {"core/other": b"plain"})
    assert await store.get("core/stored-root") == b"wrapped"
    other = await store.get("core/other")
    assert other is not None
    assert barrier.decrypt("core/other", other) == b"plain"
    assert barrier.decrypt("a", entry) == b"x"
    again = Barrier(store)
    with pytest.raises(WrongRootKey):
        await again.unseal(ROOT_KEY)
    await again.unseal(b"n" * 32)
    assert again.decrypt("a", entry) == b"x"


class FailingStore(InmemStore):
    failing = False

    async def commit(self, batch):  # type: ignore[no-untyped-def, override]
        if self.failing:
            raise StoreError("disk full")
        await super().commit(batch)


async def test_a_term_that_could_not_be_stored_is_not_used() -> None:
    store = FailingStore()
    barrier = Barrier(store)
    await barrier.initialize(ROOT_KEY, NOW)
    store.failing = True
    with pytest.raises(StoreError, match="disk full"):
        await barrier.rotate(NOW)
    assert barrier.keyring.active == 1
    assert barrier.encrypt("a", b"")[:4] == b"\0\0\0\x01"


async def test_counting(store: InmemStore, barrier: Barrier) -> None:
    for _ in range(5):
        barrier.encrypt("a", b"")
    assert barrier.encryptions == 5
    assert barrier.keyring.active_term.encryptions == 0
    await barrier.store_encryptions()
    again = Barrier(store)
    await again.unseal(ROOT_KEY)
    assert again.encryptions == 5
    again.encrypt("a", b"")
    await again.rotate(NOW)
    assert again.encryptions == 0
    assert again.keyring.terms[1].encryptions == 6


async def test_store_encryptions_writes_only_news(store: InmemStore, barrier: Barrier) -> None:
    before = await store.get(KEYRING)
    await barrier.store_encryptions()
    assert await store.get(KEYRING) == before


async def test_rotation_due(barrier: Barrier) -> None:
    assert not barrier.rotation_due(NOW + 10**9)
    await barrier.configure_rotation(RotationConfig(max_operations=1_000_000, interval=86400))
    assert not barrier.rotation_due(NOW + 86399)
    assert barrier.rotation_due(NOW + 86400)
    await barrier.rotate(NOW + 86400)
    assert not barrier.rotation_due(NOW + 86400)
    assert barrier.keyring.rotation.max_operations == 1_000_000
    assert barrier.keyring.rotation.max_operations < MAX_OPERATIONS


async def test_standby_follows_rotations_and_a_rekey(store: InmemStore, barrier: Barrier) -> None:
    standby = Barrier(store)
    await standby.unseal(ROOT_KEY)
    await barrier.rotate(NOW)
    await standby.reload()
    entry = barrier.encrypt("a", b"2")
    assert standby.decrypt("a", entry) == b"2"
    await barrier.rekey(b"n" * 32)
    await standby.reload()
    assert standby.keyring == barrier.keyring
    await barrier.rotate(NOW)
    await standby.reload()
    assert standby.decrypt("a", barrier.encrypt("a", b"3")) == b"3"


async def test_standby_that_missed_too_much_says_so(store: InmemStore, barrier: Barrier) -> None:
    standby = Barrier(store)
    await standby.unseal(ROOT_KEY)
    await barrier.rotate(NOW)
    await barrier.rekey(b"n" * 32)
    with pytest.raises(WrongRootKey):
        await standby.reload()


class SlowStore(InmemStore):
    """Commits wait until ``release`` is set, as on a busy disk."""

    release: asyncio.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self.committing = asyncio.Event()

    async def commit(self, batch):  # type: ignore[no-untyped-def, override]
        if self.release:
            self.committing.set()
            await self.release.wait()
        await super().commit(batch)

    def finish(self) -> None:
        assert self.release is not None
        self.release.set()


@pytest.fixture
async def slow() -> tuple[SlowStore, Barrier]:
    store = SlowStore()
    barrier = Barrier(store)
    await barrier.initialize(ROOT_KEY, NOW)
    barrier.encrypt("a", b"")
    store.release = asyncio.Event()
    return store, barrier


async def test_concurrent_changes_lose_no_term(slow: tuple[SlowStore, Barrier]) -> None:
    store, barrier = slow
    changes = [
        asyncio.ensure_future(change)
        for change in (barrier.rotate(NOW), barrier.store_encryptions(), barrier.rotate(NOW))
    ]
    await store.committing.wait()
    store.finish()
    await asyncio.gather(*changes)
    fresh = Barrier(store)
    await fresh.unseal(ROOT_KEY)
    assert set(fresh.keyring.terms) == {1, 2, 3}
    assert fresh.keyring.terms[1].encryptions == 1


async def test_cancelled_rekey_is_finished(slow: tuple[SlowStore, Barrier]) -> None:
    """Were the old root key kept in memory, the next rotation would store a keyring that the new
    one, which the seal now wraps, cannot open."""
    store, barrier = slow
    rekey = asyncio.ensure_future(barrier.rekey(b"n" * 32))
    await store.committing.wait()
    rekey.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rekey
    store.finish()
    await barrier.rotate(NOW)
    fresh = Barrier(store)
    await fresh.unseal(b"n" * 32)
    assert set(fresh.keyring.terms) == {1, 2}


async def test_sealed_during_a_change_stays_sealed(slow: tuple[SlowStore, Barrier]) -> None:
    store, barrier = slow
    rotation = asyncio.ensure_future(barrier.rotate(NOW))
    await store.committing.wait()
    barrier.seal()
    store.finish()
    await rotation
    assert barrier.sealed


async def test_unsealed_again_during_a_rekey(slow: tuple[SlowStore, Barrier]) -> None:
    """Opening waits for the change, rather than with the old root key overwrite it later."""
    store, barrier = slow
    rekey = asyncio.ensure_future(barrier.rekey(b"n" * 32))
    await store.committing.wait()
    barrier.seal()
    opening = asyncio.ensure_future(barrier.unseal(ROOT_KEY))
    store.finish()
    await rekey
    with pytest.raises(WrongRootKey):
        await opening


async def test_node_that_missed_a_change_cannot_undo_it(store: InmemStore, barrier: Barrier) -> None:
    other = Barrier(store)
    await other.unseal(ROOT_KEY)
    await barrier.rotate(NOW)
    entry = barrier.encrypt("a", b"x")
    await other.configure_rotation(RotationConfig(enabled=False))
    fresh = Barrier(store)
    await fresh.unseal(ROOT_KEY)
    assert fresh.decrypt("a", entry) == b"x"
    await barrier.rekey(b"n" * 32)
    with pytest.raises(WrongRootKey):
        await other.rotate(NOW)
    await fresh.unseal(b"n" * 32)


async def test_encryptions_during_a_change_are_counted(slow: tuple[SlowStore, Barrier]) -> None:
    store, barrier = slow
    change = asyncio.ensure_future(barrier.store_encryptions())
    await store.committing.wait()
    barrier.encrypt("a", b"")
    store.finish()
    await change
    assert barrier.encryptions == 2


async def test_standby_takes_over_the_count(store: InmemStore, barrier: Barrier) -> None:
    standby = Barrier(store)
    await standby.unseal(ROOT_KEY)
    for _ in range(5):
        barrier.encrypt("a", b"")
    await barrier.store_encryptions()
    await standby.reload()
    assert standby.encryptions == 5


async def test_entry_of_another_version_is_refused(barrier: Barrier) -> None:
    """Even one made with the right key: only what this version writes is read."""
    aead = AESGCM(barrier.keyring.active_term.key)
    entry = encrypt_entry(aead, b"\0\0\0\x01\x02", "a", b"x", bytes(12))
    with pytest.raises(CorruptEntry):
        barrier.decrypt("a", entry)

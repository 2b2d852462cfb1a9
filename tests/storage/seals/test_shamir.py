"""The Shamir seal wraps the root key under a key it is given, and tells when that is the wrong one."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from caveau.framework.errors import InvalidRequest, Sealed, StoreError
from caveau.storage.seals import WrongSealKey
from caveau.storage.seals.shamir import ShamirSeal


async def test_wrap_and_unwrap() -> None:
    seal = ShamirSeal(b"k" * 32)
    wrapped = await seal.wrap(b"root")
    assert b"root" not in wrapped
    assert wrapped != await seal.wrap(b"root")
    assert await ShamirSeal(b"k" * 32).unwrap(wrapped) == b"root"


async def test_wrong_key_and_changed_bytes() -> None:
    wrapped = await ShamirSeal(b"k" * 32).wrap(b"root")
    with pytest.raises(WrongSealKey):
        await ShamirSeal(b"l" * 32).unwrap(wrapped)
    for index in range(1, len(wrapped)):
        changed = bytearray(wrapped)
        changed[index] ^= 1
        with pytest.raises(WrongSealKey):
            await ShamirSeal(b"k" * 32).unwrap(bytes(changed))
    for cut in (b"\x01", wrapped[:20]):
        with pytest.raises(WrongSealKey):
            await ShamirSeal(b"k" * 32).unwrap(cut)
    with pytest.raises(StoreError, match="newer Caveau"):
        await ShamirSeal(b"k" * 32).unwrap(b"\x02" + wrapped[1:])


async def test_without_a_key() -> None:
    seal = ShamirSeal(b"k" * 32)
    await seal.close()
    for closed in (seal, ShamirSeal()):
        with pytest.raises(Sealed):
            await closed.wrap(b"root")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_key_of_the_wrong_size(size: int) -> None:
    with pytest.raises(InvalidRequest, match=f"an unseal key has 32 bytes, not {size}"):
        ShamirSeal(bytes(size))


def test_configuration() -> None:
    assert ShamirSeal.from_config({}).type == "shamir"
    with pytest.raises(InvalidRequest, match='seal "shamir" has no setting key'):
        ShamirSeal.from_config({"key": "x"})


def test_is_found_by_its_entry_point() -> None:
    (point,) = entry_points(group="caveau.seals", name="shamir")
    assert point.load() is ShamirSeal

"""Any threshold of shares gives the secret back; fewer give nothing; wrong parts are refused."""

from __future__ import annotations

import itertools

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.storage.shamir import _invert, _scale, combine, split
from hypothesis import given
from hypothesis import strategies as st


def test_field_is_the_one_of_aes() -> None:
    # FIPS 197 section 4.2: {57} * {83} = {c1}, {57} * {13} = {fe}
    assert _scale(0x57, 0x83, 1) == 0xC1
    assert _scale(0x57, 0x13, 1) == 0xFE
    assert _scale(0x5700FF57, 0x13, 4) == 0xFE00_0000 | _scale(0xFF, 0x13, 1) << 8 | 0xFE


def test_every_element_has_its_inverse() -> None:
    for a in range(1, 256):
        assert _scale(a, _invert(a), 1) == 1


@given(st.binary(min_size=1, max_size=40), st.data())
def test_any_threshold_of_shares_recombines(secret: bytes, data: st.DataObject) -> None:
    shares = data.draw(st.integers(2, 20))
    threshold = data.draw(st.integers(2, shares))
    parts = split(secret, shares, threshold)
    assert len(parts) == shares
    assert {len(part) for part in parts} == {len(secret) + 1}
    assert len({part[-1] for part in parts} - {0}) == shares
    chosen = data.draw(st.permutations(parts))
    assert combine(chosen[:threshold]) == secret
    assert combine(chosen) == secret


def test_largest_split() -> None:
    parts = split(b"k" * 32, 255, 255)
    assert combine(parts) == b"k" * 32
    assert combine(parts[:254]) != b"k" * 32


def test_fewer_shares_fit_every_secret() -> None:
    """Two of three-threshold shares leave each byte of the secret as likely as any other: for
    every candidate there is a third share that yields it."""
    first, second, _ = split(b"\x2a", 3, 3)
    reached = {combine([first, second, bytes((y, 7))]) for y in range(256)}
    assert len(reached) == 256


def test_share_of_a_known_polynomial() -> None:
    # secret 0x42, polynomial 0x42 + 0x53 x: the coefficient comes from the given source
    parts = split(b"\x42", 3, 2, random_bytes=lambda n: b"\x53" * n)
    assert parts == [bytes((0x42 ^ 0x53, 1)), bytes((0x42 ^ 0xA6, 2)), bytes((0x42 ^ 0xF5, 3))]


@pytest.mark.parametrize(
    ("secret", "shares", "threshold", "text"),
    [
        (b"", 3, 2, "empty secret"),
        (b"s", 2, 3, "parts cannot be less than threshold"),
        (b"s", 256, 2, "parts cannot exceed 255"),
        (b"s", 2, 1, "threshold must be at least 2"),
    ],
)
def test_split_refuses(secret: bytes, shares: int, threshold: int, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        split(secret, shares, threshold)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "less than two parts"),
        ([b"ab"], "less than two parts"),
        ([b"a", b"b"], "at least two bytes"),
        ([b"ab", b"abc"], "same length"),
        ([b"ab", b"cb"], "duplicate part"),
        ([b"a\0", b"bc"], "x coordinate 0"),
    ],
)
def test_combine_refuses(parts: list[bytes], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        combine(parts)


def test_a_changed_share_changes_the_secret() -> None:
    parts = split(b"secret", 3, 2)
    for index, bit in itertools.product(range(6), range(8)):
        wrong = bytearray(parts[0])
        wrong[index] ^= 1 << bit
        assert combine([bytes(wrong), parts[1]]) != b"secret"

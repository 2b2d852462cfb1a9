"""Shamir's secret sharing over GF(2^8) with the AES polynomial x^8 + x^4 + x^3 + x + 1 (0x11b).

A share is the payload, as long as the secret, followed by one byte x in 1..255: Vault's form, so
shares of either server combine in the other. Each byte of the secret is the constant term of its
own random polynomial of degree ``threshold - 1``; the payload holds the values at x.

Field arithmetic uses no tables and no branches on secrets: all bytes of a string are multiplied at
once, packed in one integer, by a scalar that is public (x, or a weight computed from the x's).
Python's integers promise no constant time, yet no index and no decision depends on a secret byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..framework.errors import InvalidRequest

MAX_SHARES = 255


def split(secret: bytes, shares: int, threshold: int, random_bytes: Callable[[int], bytes] = os.urandom) -> list[bytes]:
    """``shares`` shares, each ``len(secret) + 1`` bytes, any ``threshold`` of which give ``secret``.

    2 <= threshold <= shares <= 255; raises InvalidRequest. With fewer shares the secret stays
    uniformly distributed, provided ``random_bytes`` is.
    """
    if not secret:
        raise InvalidRequest("cannot split an empty secret")
    if shares < threshold:
        raise InvalidRequest("parts cannot be less than threshold")
    if shares > MAX_SHARES:
        raise InvalidRequest(f"parts cannot exceed {MAX_SHARES}")
    if threshold < 2:
        raise InvalidRequest("threshold must be at least 2")
    size = len(secret)
    coefficients = [_pack(random_bytes(size)) for _ in range(threshold - 1)]
    parts = []
    for x in range(1, shares + 1):
        value = 0
        for coefficient in coefficients:  # Horner: the highest power first
            value = _scale(value ^ coefficient, x, size)
        parts.append((value ^ _pack(secret)).to_bytes(size, "big") + bytes((x,)))
    return parts


def combine(parts: Sequence[bytes]) -> bytes:
    """The secret that ``parts`` determine, by interpolation at x = 0.

    Fewer parts than the threshold, or a wrong one, give a wrong secret and no error: only the
    caller can tell, by using it. Raises InvalidRequest when the parts cannot belong together.
    """
    if len(parts) < 2:
        raise InvalidRequest("less than two parts cannot be used to reconstruct the secret")
    size = len(parts[0]) - 1
    if size < 1:
        raise InvalidRequest("parts must be at least two bytes")
    if any(len(part) != size + 1 for part in parts):
        raise InvalidRequest("all parts must be the same length")
    xs = [part[-1] for part in parts]
    if len(set(xs)) != len(xs):
        raise InvalidRequest("duplicate part detected")
    if 0 in xs:  # the value at 0 is the secret itself: no share is made there
        raise InvalidRequest("a part has the x coordinate 0")
    secret = 0
    for part, x in zip(parts, xs, strict=True):
        weight = 1  # Lagrange's basis polynomial of x at 0; subtraction is XOR
        for other in xs:
            if other != x:
                weight = _scale(weight, _scale(other, _invert(other ^ x), 1), 1)
        secret ^= _scale(_pack(part[:-1]), weight, size)
    return secret.to_bytes(size, "big")


def _pack(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _scale(packed: int, scalar: int, size: int) -> int:
    """Each of the ``size`` bytes packed in an integer, times ``scalar``."""
    ones = int.from_bytes(b"\x01" * size, "big")
    low = ones * 0x7F
    product = 0
    for bit in range(8):
        product ^= packed * (scalar >> bit & 1)
        packed = (packed & low) << 1 ^ (packed >> 7 & ones) * 0x1B
    return product


def _invert(a: int) -> int:
    """1/a, which is a^254."""
    power = a
    for _ in range(6):  # a^2+1, ... : a^127
        power = _scale(_scale(power, power, 1), a, 1)
    return _scale(power, power, 1)

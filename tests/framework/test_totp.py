"""One-time passwords: the vectors of the RFCs, and codes that an app can read."""

from __future__ import annotations

import base64
import struct
import sys

import pytest
from caveau.framework.totp import Totp, barcode, hotp

KEYS = {"SHA1": b"12345678901234567890", "SHA256": b"12345678901234567890123456789012",
        "SHA512": b"1234567890123456789012345678901234567890123456789012345678901234"}  # fmt: skip


def test_the_vectors_of_rfc_4226():
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [hotp(KEYS["SHA1"], counter) for counter in range(10)] == codes


@pytest.mark.parametrize(("now", "algorithm", "code"), [
    (59, "SHA1", "94287082"), (59, "SHA256", "46119246"), (59, "SHA512", "90693936"),
    (1111111109, "SHA1", "07081804"), (1111111109, "SHA256", "68084774"), (1111111109, "SHA512", "25091201"),
    (20000000000, "SHA1", "65353130"), (20000000000, "SHA256", "77737706"), (20000000000, "SHA512", "47863826"),
])  # fmt: skip
def test_the_vectors_of_rfc_6238(now, algorithm, code):
    totp = Totp(base64.b32encode(KEYS[algorithm]).decode().rstrip("="), digits=8, algorithm=algorithm)
    assert totp.code(totp.counter(now)) == code
    assert totp.match(code, now) == now // 30


@pytest.mark.parametrize("skew", [0, 1])
def test_a_code_matches_within_the_skew(skew):
    totp = Totp.new(20, period=30, digits=6, algorithm="SHA1", skew=skew)
    for ahead in range(-2, 3):
        assert totp.match(totp.code(100 + ahead), 3000) == (100 + ahead if abs(ahead) <= skew else None)


@pytest.mark.parametrize("code", ["", "75522", "7552245", "７５５２２４", "\ud800", "x" * 1000])
def test_what_is_no_code_matches_nothing(code):
    assert Totp(base64.b32encode(KEYS["SHA1"]).decode()).match(code, 0) is None


def test_keys_are_random_and_as_long_as_asked_for():
    keys = {Totp.new(10, period=30, digits=6, algorithm="SHA1", skew=1).key for _ in range(50)}
    assert len(keys) == 50
    assert {len(base64.b32decode(key + "=" * (-len(key) % 8))) for key in keys} == {10}


def test_the_url_escapes_what_would_end_a_part_of_it():
    url = Totp("ABC", 60, 8, "SHA256").url("A & B/ü", "me:1")
    assert url == ("otpauth://totp/A%20%26%20B%2F%C3%BC:me%3A1?algorithm=SHA256&digits=8&issuer=A%20%26%20B%2F%C3%BC"
                   "&period=60&secret=ABC")  # fmt: skip


def size(png: str) -> tuple[int, int]:
    raw = base64.b64decode(png)
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", raw[16:24])


def test_a_barcode_is_a_png_as_wide_as_fits():
    text = Totp.new(20, period=30, digits=6, algorithm="SHA1", skew=1).url("Caveau", "me")
    width, height = size(barcode(text, 200))
    assert width == height
    assert 100 < width <= 200
    assert size(barcode(text, 1))[0] < 100
    with pytest.raises(ValueError, match="Data too large"):
        barcode("x" * 5000, 200)


def test_a_barcode_needs_its_package_only_when_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "segno", None)
    assert Totp("ABC").url("i", "a")
    with pytest.raises(ImportError):
        barcode("x", 200)

"""A keyring is a value: rotation adds a term, and a stored one reads back the same."""

from __future__ import annotations

import orjson
import pytest
from caveau.framework.errors import InvalidRequest, StoreError
from caveau.storage.keyring import MAX_OPERATIONS, Keyring, RotationConfig, Term
from hypothesis import given
from hypothesis import strategies as st

ROOT = bytes(range(32))


def counting(n: int) -> bytes:
    return b"\x07" * n


def test_generate_and_rotate() -> None:
    first = Keyring.generate(ROOT, 100.0, counting)
    assert first.active == 1
    assert first.active_term == Term(b"\x07" * 32, 100.0)
    second = first.with_encryptions(9).rotate(200.0)
    assert second.active == 2
    assert second.terms[1] == Term(b"\x07" * 32, 100.0, 9)
    assert second.active_term.installed == 200.0
    assert second.active_term.encryptions == 0
    assert second.active_term.key != b"\x07" * 32
    assert first.active == 1
    assert set(first.terms) == {1}


def test_secrets_stay_out_of_repr() -> None:
    assert "\\x07" not in repr(Keyring.generate(ROOT, 0.0, counting))
    assert "\\x1f" not in repr(Keyring.generate(ROOT, 0.0, counting))


terms = st.dictionaries(
    st.integers(1, 2**32 - 1),
    st.builds(
        Term,
        st.binary(min_size=32, max_size=32),
        st.integers(0, 4_000_000_000).map(float),
        st.integers(0, MAX_OPERATIONS),
    ),
    min_size=1,
    max_size=5,
)
rotations = st.builds(
    RotationConfig,
    st.booleans(),
    st.integers(1_000_000, MAX_OPERATIONS),
    st.just(0) | st.integers(86400, 10**9),
)


@given(st.binary(min_size=32, max_size=32), terms, rotations)
def test_dump_reads_back(root: bytes, terms: dict[int, Term], rotation: RotationConfig) -> None:
    keyring = Keyring(root, terms, max(terms), rotation)
    assert Keyring.load(keyring.dump()) == keyring


def test_stored_form_of_version_1() -> None:
    """What an earlier release wrote stays readable."""
    stored = {
        "version": 1,
        "root_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "active": 2,
        "terms": {
            "1": {"key": "AQ==", "installed": "2026-01-02T03:04:05Z", "encryptions": 5},
            "2": {"key": "Ag==", "installed": "2026-01-02T03:04:06.5Z", "encryptions": 0},
        },
        "rotation": {"enabled": False, "max_operations": 1_000_000, "interval": 86400},
    }
    keyring = Keyring.load(orjson.dumps(stored))
    assert keyring == Keyring(
        ROOT,
        {1: Term(b"\x01", 1767323045.0, 5), 2: Term(b"\x02", 1767323046.5, 0)},
        2,
        RotationConfig(False, 1_000_000, 86400),
    )
    assert orjson.loads(keyring.dump()) == stored


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(StoreError, match="newer Caveau"):
        Keyring.load(b'{"version":2}')


@pytest.mark.parametrize("operations", [0, 999_999, MAX_OPERATIONS + 1])
def test_operations_out_of_range(operations: int) -> None:
    with pytest.raises(InvalidRequest, match=r"in the range \[1000000,3865470566\]"):
        RotationConfig(max_operations=operations)


@pytest.mark.parametrize("interval", [1, 86399, -1])
def test_interval_out_of_range(interval: int) -> None:
    with pytest.raises(InvalidRequest, match="interval must be greater or equal to 24h0m0s"):
        RotationConfig(interval=interval)


@pytest.mark.parametrize(
    ("rotation", "now", "encryptions", "due"),
    [
        (RotationConfig(), 1e9, MAX_OPERATIONS - 1, False),
        (RotationConfig(), 0, MAX_OPERATIONS, True),
        (RotationConfig(max_operations=1_000_000), 0, 1_000_000, True),
        (RotationConfig(interval=86400), 86399, 0, False),
        (RotationConfig(interval=86400), 86400, 0, True),
        (RotationConfig(enabled=False, interval=86400), 1e9, MAX_OPERATIONS, False),
    ],
)
def test_rotation_due(rotation: RotationConfig, now: float, encryptions: int, due: bool) -> None:
    keyring = Keyring(ROOT, {1: Term(ROOT, 0.0)}, 1, rotation)
    assert keyring.rotation_due(now, encryptions) is due

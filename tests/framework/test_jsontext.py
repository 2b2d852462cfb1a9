from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from caveau.framework.jsontext import MAX_DEPTH, dumps, loads
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=50, deadline=None)  # the machine may be busy
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@few
@given(values)
def test_what_is_written_is_read_exactly(value):
    assert loads(dumps(value)) == value


@few
@given(values)
def test_the_standard_library_agrees(value):
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@few
@given(st.binary() | st.text().map(str.encode))
def test_only_value_errors(raw):
    with contextlib.suppress(ValueError):
        loads(raw)


@pytest.mark.parametrize(
    "number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, 12345678901234567890123]
)
def test_integers_of_any_size(number):
    assert loads(b'{"n":[%d]}' % number) == {"n": [number]}
    assert dumps({"n": [number]}) == b'{"n":[%d]}' % number


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1e99999999999999999999", "9" * 400 + ".0", "9" * 5000])
def test_numbers_out_of_range(text):
    with pytest.raises(ValueError, match=r"."):
        loads(text.encode())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1,]", "NaN", "Infinity", '{"a":1}{"b":2}', "{'a':1}", '"\\ud800"', "\xff",
     # the same in texts with long runs of digits, which the standard library reads
     '{"n":12345678901234567890', '[12345678901234567890,NaN]', '[12345678901234567890,-Infinity]',
     '[12345678901234567890,"\\ud800"]', '[12345678901234567890,"\\uDC00"]', "[12345678901234567890] x"],
)  # fmt: skip
def test_bad_texts(text):
    with pytest.raises(ValueError, match=r"."):
        loads(text.encode("latin-1"))


def test_surrogate_pairs_are_one_character_beside_big_integers():
    assert loads(b'[12345678901234567890,"\\ud83d\\ude00"]') == [12345678901234567890, "😀"]


def test_digits_in_strings_are_no_numbers():
    assert loads(b'{"a":"12345678901234567890123","b":1.5}') == {"a": "12345678901234567890123", "b": 1.5}


def test_the_last_of_equal_keys_wins():
    assert loads(b'{"a":1,"a":2}') == loads(b'{"a":12345678901234567890,"a":2}') == {"a": 2}


def _nested(depth, leaf, opening=b"[", closing=b"]"):
    return opening * depth + leaf + closing * depth


@pytest.mark.parametrize("leaf", [b"1", b"12345678901234567890", b'"[[[{{{"'])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"k":', b"}")])
def test_depth_is_bounded(leaf, opening, closing):
    deepest = loads(_nested(MAX_DEPTH, leaf, opening, closing))
    assert loads(dumps(deepest)) == deepest
    for depth in (MAX_DEPTH + 1, 2000, 100_000):
        with pytest.raises(ValueError, match=r"."):
            loads(_nested(depth, leaf, opening, closing))


def test_many_brackets_are_not_depth():
    assert len(loads(b"[" + b"[],{}," * 1000 + b"1]")) == 2001
    assert loads(b'["' + b"[" * 1000 + b'"]') == ["[" * 1000]


def test_values_nested_too_deep_to_write():
    value: list = []
    for _ in range(100_000):
        value = [value]
    try:
        with pytest.raises(ValueError, match="exceeded max depth"):
            dumps(value)
    finally:
        while value:
            value = value.pop()


def test_keys_are_sorted_unless_told_otherwise():
    value = {"b": 1, "a": {"d": 2**70, "c": 1}}
    assert dumps(value) == b'{"a":{"c":1,"d":%d},"b":1}' % 2**70
    assert dumps(value, sort_keys=False) == b'{"b":1,"a":{"d":%d,"c":1}}' % 2**70
    assert dumps({"b": 1, "a": 2}, sort_keys=False) == b'{"b":1,"a":2}'


def test_fragments_are_spliced_in():
    fragment = orjson.Fragment(b'{"n":12345678901234567890}')
    assert dumps({"a": fragment}) == b'{"a":{"n":12345678901234567890}}'
    assert dumps({"a": fragment, "b": 2**70}) == b'{"a":{"n":12345678901234567890},"b":%d}' % 2**70


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": b"bytes"}, "\ud800"])
def test_what_json_cannot_say(value):
    with pytest.raises((TypeError, ValueError)):
        dumps(value)

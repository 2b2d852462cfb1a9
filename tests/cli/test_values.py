"""Go's text, tables, JSON and YAML."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from caveau.cli import values
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "<nil>"), (True, "true"), (12, "12"), ("x", "x"), ([1, "x", {"z": None}], "[1 x map[z:<nil>]]"),
     ({"b": 1, "a": []}, "map[a:[] b:1]"), ({}, "map[]")],
)  # fmt: skip
def test_text_is_gos(value: Any, text: str) -> None:
    assert values.text(value) == text


def test_numbers_keep_their_digits() -> None:
    found = values.loads('{"a": 1e3, "b": 1.10, "c": 12345678901234567890}')
    assert values.text(found) == "map[a:1e3 b:1.10 c:12345678901234567890]"
    assert values.to_json(found) == '{\n  "a": 1e3,\n  "b": 1.10,\n  "c": 12345678901234567890\n}'


def test_table_is_aligned_by_characters_and_has_no_empty_cell() -> None:
    assert values.table(("Key", "Value"), [("token_duration", "∞"), ("é", " padded "), ("c", "")]) == (
        "Key               Value\n---               -----\n"
        "token_duration    ∞\né                 padded\nc                 n/a"
    )


def test_json_is_escaped_as_go_escapes() -> None:
    assert values.to_json("<b>&é\u2028") == '"\\u003cb\\u003e\\u0026é\\u2028"'
    assert values.to_json({"a": {}, "b": [], "c": [1]}) == '{\n  "a": {},\n  "b": [],\n  "c": [\n    1\n  ]\n}'


@given(JSON)
def test_json_means_what_it_meant(value: Any) -> None:
    assert json.loads(values.to_json(value)) == value
    assert json.loads(values.compact(value)) == value


# Without "=" and "<<", which the original leaves bare and PyYAML then reads as YAML 1.1's own.
YAML_TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="=<"))
YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | YAML_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.sampled_from("abn1y-:")), inner, max_size=4),
    max_leaves=12,
)


@given(YAML)
def test_yaml_means_what_it_meant(value: Any) -> None:
    assert yaml.safe_load(values.to_yaml(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("y", '"y"'), ("n", '"n"'), ("1", '"1"'), ("1e3", '"1e3"'), ("1:30", '"1:30"'), ("null", '"null"'),
     ("a: b", "'a: b'"),
     ("2026-11-24", '"2026-11-24"'), ("768h", "768h"), ("", '""'), ("a\nb\n", "|\n  a\n  b"),
     ("tab\there", '"tab\\there"')],
)  # fmt: skip
def test_yaml_quotes_what_could_be_read_as_something_else(value: str, text: str) -> None:
    assert values.to_yaml({"k": value}) == f"k: {text}\n"


def test_yaml_orders_numbers_in_keys() -> None:
    assert values.to_yaml({"s10": 1, "s2": 2, "n": 3}) == '"n": 3\ns2: 2\ns10: 1\n'

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from caveau.cli.pairs import PairError, parse, strings
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = TEXT.filter(lambda value: value != "-" and not value.startswith(("@", "\\@")))
KEYS = TEXT.filter(lambda key: "=" not in key and not key.startswith("@") and key != "-")


@given(st.dictionaries(KEYS, PLAIN))
def test_pairs_round_trip(data: dict[str, str]) -> None:
    assert parse([f"{key}={value}" for key, value in data.items()]) == data


@given(TEXT)
def test_an_escaped_at_sign_is_text(value: str) -> None:
    assert parse([f"k=\\@{value}"]) == {"k": f"@{value}"}


@given(KEYS, st.lists(PLAIN, min_size=2, max_size=5))
def test_a_repeated_key_is_a_list(key: str, items: list[str]) -> None:
    assert parse([f"{key}={item}" for item in items]) == {key: items}


@given(st.dictionaries(st.text(), st.integers() | st.booleans() | st.none() | st.lists(st.text())))
def test_an_object_comes_from_standard_input(data: dict[str, object]) -> None:
    assert parse(["-"], io.StringIO(json.dumps(data))) == data


def test_values_come_from_files_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "data.json").write_text('{"n": 12345678901234567, "b": true}')
    found = parse([f"a=@{tmp_path}/secret", "b=-", f"@{tmp_path}/data.json"], io.StringIO("from stdin"))
    assert found == {"a": "s3cret\n", "b": True, "n": 12345678901234567}
    assert parse(["b=-"], io.StringIO("from stdin")) == {"b": "from stdin"}


def test_query_values_are_lists_of_text() -> None:
    assert strings(["a=1", "a=2", "b=x"]) == {"a": ["1", "2"], "b": ["x"]}
    assert strings(["-"], io.StringIO('{"n": 5, "t": true}')) == {"n": ["5"], "t": ["true"]}


@pytest.mark.parametrize(
    ("argument", "message"),
    [("a", 'invalid key/value pair "a": format must be key=value'),
     ("a=@/none", 'invalid key/value pair "a=@/none": error reading file: open /none: no such file or directory'),
     ("@/none", 'invalid key/value pair "@/none": open /none: no such file or directory'),
     ("-", 'invalid key/value pair "-": EOF')],
)  # fmt: skip
def test_messages(argument: str, message: str) -> None:
    with pytest.raises(PairError) as caught:
        parse([argument], io.StringIO(""))
    assert str(caught.value) == message


def test_a_broken_file_is_not_quoted_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"password": "hunter2"')
    with pytest.raises(PairError) as caught:
        parse([f"@{tmp_path}/data.json"])
    assert "hunter2" not in str(caught.value)
    (tmp_path / "data.json").write_text('["hunter2"]')
    with pytest.raises(PairError, match="not a JSON object"):
        parse([f"@{tmp_path}/data.json"])

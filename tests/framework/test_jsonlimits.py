from __future__ import annotations

import json
import time

import pytest
from caveau.framework import jsonlimits
from caveau.framework.jsonlimits import MAX_DEPTH, LimitExceeded, Limits, Reader

NONE = {
    "max_json_depth": -1,
    "max_json_string_value_length": -1,
    "max_json_object_entry_count": -1,
    "max_json_array_element_count": -1,
    "max_request_json_strings": -1,
    "max_request_json_memory": -1,
}


def reader(**limits: int) -> Reader:
    return Reader(Limits(**{**NONE, **limits}))


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    ("limits", "most", "over"),
    [
        ({"max_json_depth": 3}, nested(3), nested(4)),
        ({"max_json_depth": 3}, '{"a":[{"b":"[[[[{{{{"}]}', '{"a":[{"b":[]}]}'),
        ({"max_json_depth": 1}, "[]", "[[]]"),
        ({"max_json_string_value_length": 8}, '{"a":"12345678"}', '{"a":"123456789"}'),
        ({"max_json_string_value_length": 8}, '{"a":"éééé"}', '{"a":"ééééé"}'),
        ({"max_json_string_value_length": 8}, '{"a long key, which is no value":"é"}', '["a", ["123456789"]]'),
        ({"max_json_object_entry_count": 2}, '{"a":1,"b":[1,2,3]}', '{"a":1,"b":2,"c":3}'),
        ({"max_json_object_entry_count": 2}, '[{"a":1,"b":2},{"a":1}]', '{"a":{"":0,"b":0,"c":0}}'),
        ({"max_json_array_element_count": 2}, '{"a":[1,2],"b":0,"c":0}', '{"a":[1,2,3]}'),
        ({"max_json_array_element_count": 2}, "[1,2]", "[1,2,3]"),
        ({"max_json_array_element_count": 2}, '[1,"2,3,4,5,6"]', "[1,[1,2,3]]"),
        ({"max_request_json_strings": 4}, '{"a":"b","c":"d"}', '{"a":"b","c":["d",""]}'),
        ({"max_request_json_strings": 1}, r'["\"a\",\"b\",\\"]', '["",""]'),
        ({"max_request_json_memory": 100}, "[1,1,1,1]", "[1,1,1,1,1]"),
        ({"max_request_json_memory": 100}, '["' + "," * 60 + '"]', '["' + "," * 70 + '"]'),
    ],
)
def test_the_most_is_read_and_more_is_refused_by_the_name_of_the_limit(limits, most, over):
    assert reader(**limits).loads(most.encode()) == json.loads(most)
    ((name, value),) = limits.items()
    with pytest.raises(LimitExceeded, match=f"{name} is {value}$"):
        reader(**limits).loads(over.encode())
    assert reader().loads(over.encode()) == json.loads(over)


def test_depth_is_bounded_even_where_the_limit_is_not():
    assert reader().loads(nested(MAX_DEPTH).encode())
    with pytest.raises(LimitExceeded, match=f"max_json_depth is {MAX_DEPTH}"):
        reader(max_json_depth=5000).loads(nested(MAX_DEPTH + 1).encode())


@pytest.mark.parametrize("text", ['{"a"', '{"a":"b', '"\\', '["\\"', "", "{", '[1,,"'])
def test_bad_syntax_within_the_limits_is_no_limit(text):
    with pytest.raises(ValueError, match=r".") as caught:
        reader(max_request_json_strings=2, max_request_json_memory=200).loads(text.encode())
    assert not isinstance(caught.value, LimitExceeded)


@pytest.mark.parametrize("text", [b'"\\' * 500_000, b'"' + b'\\"' * 500_000 + b"\\", b'"' * 1_000_000])
def test_counting_takes_linear_time(text):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        reader(max_request_json_strings=10).loads(text)
    assert time.process_time() - began < 2


def test_a_text_that_is_too_short_to_be_over_a_limit_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(Reader, "_suspicious", None)
    monkeypatch.setattr(Reader, "_weigh", None)
    assert reader(max_json_depth=100, max_request_json_strings=10).loads(b'{"data":{"a":"b"}}') == {"data": {"a": "b"}}


def test_what_is_counted_is_counted_before_it_is_made(monkeypatch):
    monkeypatch.setattr(jsonlimits.jsontext, "loads", lambda raw: pytest.fail("was parsed"))
    with pytest.raises(LimitExceeded, match="max_request_json_memory is 34078720"):
        reader(max_request_json_memory=34078720).loads(b"[" + b"[]," * 2_000_000 + b"[]]")
